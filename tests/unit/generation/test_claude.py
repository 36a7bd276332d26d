"""What the generator decides without asking anyone."""

from tests.support.judging import validate

from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.claude import GenerationOrder, _without_refused_paths

PAGE = "<!doctype html><html lang=en><body><p>hello</p></body></html>"


def test_a_repair_builds_on_the_files_whose_paths_can_be_kept():
    files = ("index.html", "../escape", "package.json", "css/style.css", ".env")
    bundle = Bundle("webapp", "index.html", tuple(AppFile(path, PAGE) for path in files))
    kept = _without_refused_paths(bundle, validate(bundle))
    assert [file.path for file in kept.files] == ["css/style.css", "index.html"]
    assert validate(kept) == []


def test_a_file_with_another_fault_stays_to_be_repaired():
    bundle = Bundle("webapp", "index.html", (AppFile("index.html", PAGE), AppFile("a.js", "(")))
    assert _without_refused_paths(bundle, validate(bundle)) is bundle


def test_an_order_hides_its_prompt_from_logs():
    order = GenerationOrder("secret plan", "webapp", "claude-sonnet-5-5", 16000)
    assert "secret plan" not in repr(order)
