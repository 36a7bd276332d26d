"""A bundle's digest names its content, and nothing else."""

import json

import pytest

from spawnai.generation.bundle import AppFile, Bundle


def bundle(*files: tuple[str, str], entrypoint="index.html", dependencies=None) -> Bundle:
    return Bundle("webapp", entrypoint, tuple(AppFile(*file) for file in files), dependencies or {})


ONE = bundle(("index.html", "<p>é😀</p>"), ("a.js", "1"))


def test_the_order_of_files_and_dependencies_does_not_change_the_digest():
    turned = bundle(("a.js", "1"), ("index.html", "<p>é😀</p>"))
    assert turned.digest == ONE.digest
    first = bundle(("a", ""), dependencies={"express": "1", "cors": "2"})
    second = bundle(("a", ""), dependencies={"cors": "2", "express": "1"})
    assert first.digest == second.digest


@pytest.mark.parametrize(
    "other",
    [
        bundle(("index.html", "<p>é😀</p>"), ("a.js", "2")),
        bundle(("index.html", "<p>é😀</p>"), ("b.js", "1")),
        bundle(("index.html", "<p>é😀</p>")),
        bundle(("index.html", "<p>é😀</p>"), ("a.js", "1"), entrypoint="a.js"),
        bundle(("index.html", "<p>é😀</p>"), ("a.js", "1"), dependencies={"express": "1"}),
    ],
)
def test_any_change_of_content_changes_the_digest(other):
    assert other.digest != ONE.digest


def test_the_digest_is_sha256_in_hex_and_stays_the_same_for_ever():
    simple = bundle(("index.html", "<p>hello</p>"))
    # sha256 of {"appType":"webapp","dependencies":{},"entrypoint":"index.html",
    #            "files":[{"content":"<p>hello</p>","path":"index.html"}]}
    assert simple.digest == "d043b2e55925fbfc09eef8cf49b37e32f29c109e7463cfbcd07664ee1b4c82fc"


def test_a_document_survives_json_and_gives_the_same_bundle_back():
    document = json.loads(json.dumps(ONE.document()))
    assert set(document) == {"digest", "appType", "entrypoint", "files", "dependencies"}
    assert Bundle.from_document(document) == ONE


def test_a_document_that_was_changed_after_it_was_stored_is_refused():
    document = ONE.document()
    document["files"][0]["content"] += "x"
    with pytest.raises(ValueError, match="changed after it was stored"):
        Bundle.from_document(document)


@pytest.mark.parametrize("missing", ["appType", "entrypoint", "files", "dependencies"])
def test_a_document_without_one_of_its_parts_is_refused(missing):
    document = ONE.document()
    del document[missing]
    with pytest.raises(ValueError, match="cannot be read"):
        Bundle.from_document(document)


def test_size_is_counted_in_bytes_of_utf_8():
    assert bundle(("a", "é😀")).size == 6


def test_a_lone_surrogate_has_a_size_and_a_digest():
    odd = bundle(("a", "\ud800"))
    assert odd.size == 3
    assert len(odd.digest) == 64
