"""Answers as a real model writes them: each is accepted or refused as its meta.json says."""

import json
import sys
from pathlib import Path

import pytest
from tests.support.judging import judged

from spawnai.generation.answer import Answer
from spawnai.generation.normalise import finished, normalised_answer, normalised_bundle, sources_of
from spawnai_local.paths import checkout

FOLDER = checkout() / "tests" / "data" / "bundles"
CASES = sorted(path.name for path in FOLDER.iterdir())
TRAILING_COMMA_LINE = 3 if sys.version_info >= (3, 13) else 4
"""Where the json module sees it: at the comma from 3.13 on, at what follows it before."""


def read(name: str) -> tuple[dict, str]:
    place: Path = FOLDER / name
    return json.loads((place / "meta.json").read_text()), (place / "answer.json").read_text()


@pytest.mark.parametrize("name", CASES)
def test_an_answer_is_judged_as_it_should_be(name):
    meta, text = read(name)
    answer = normalised_answer(Answer.parse(text))
    bundle = normalised_bundle(answer.as_bundle(meta["type"]))
    found = judged(bundle)
    verdict = "refused" if found.problems else "accepted"
    assert verdict == meta["verdict"], [str(problem) for problem in found.problems]
    if found.problems:
        first = found.problems[0]
        assert first.path is not None
        assert len(str(first)) < 400
        return
    made = finished(bundle, found.packages, found.module_type)
    assert sources_of(made).files == bundle.files


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("a02-esm-links", "module"),
        ("a03-docs-in-template", "commonjs"),
        ("a18-fullstack-client-modules", "commonjs"),
        ("a21-comment-export", "commonjs"),
    ],
)
def test_node_is_told_how_to_read_an_app(name, kind):
    meta, text = read(name)
    bundle = normalised_bundle(normalised_answer(Answer.parse(text)).as_bundle(meta["type"]))
    found = judged(bundle)
    made = finished(bundle, found.packages, found.module_type)
    file = made.file("package.json")
    assert file is not None
    assert json.loads(file.content)["type"] == kind


@pytest.mark.parametrize(
    ("name", "place"),
    [
        ("w05-esm-wrong-import", "js/app.js:1: "),
        ("a05-express5-wildcard", "server.js:7: "),
        ("w27-trailing-comma", f"cities.json:{TRAILING_COMMA_LINE}: "),
        ("w22-onclick-beside-module", "index.html:8: "),
        ("s22-turtle", "main.py:1: "),
    ],
)
def test_a_refusal_names_file_and_line(name, place):
    meta, text = read(name)
    bundle = normalised_bundle(normalised_answer(Answer.parse(text)).as_bundle(meta["type"]))
    assert str(judged(bundle).problems[0]).startswith(place)
