"""What Claude sends: bounded while it arrives, strict when it is read, merged by path."""

import json

import pytest

from spawnai.generation.answer import (
    MAX_ANSWER_CHARACTERS,
    Answer,
    AnswerStream,
    AnswerTooLong,
    AnswerUnreadable,
)
from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.normalise import normalised_answer


def document(**changes):
    return {
        "entrypoint": "index.html",
        "dependencies": [],
        "removed_files": [],
        "files": [{"path": "index.html", "content": "<p>"}],
    } | changes


def test_an_answer_becomes_a_bundle():
    text = json.dumps(document(dependencies=[{"name": "express", "version": "5"}]))
    bundle = Answer.parse(text).as_bundle("api")
    assert bundle == Bundle("api", "index.html", (AppFile("index.html", "<p>"),), {"express": "5"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "I would rather not",
        "[]",
        "{}",
        '{"entrypoint": "a"',
        json.dumps(document(files=None)),
        json.dumps(document(files=[{"path": "a"}])),
        json.dumps(document(files=[{"path": 1, "content": ""}])),
        json.dumps(document(entrypoint=None)),
        json.dumps(document(dependencies={"express": "5"})),
        "[" * 100_000,
    ],
)
def test_what_has_another_shape_is_unreadable(text):
    with pytest.raises(AnswerUnreadable):
        Answer.parse(text)


def test_what_npm_owns_is_dropped_without_a_word():
    files = [
        {"path": "index.html", "content": "<p>"},
        {"path": "package.json", "content": '{"scripts": {"postinstall": "id"}}'},
        {"path": "package-lock.json", "content": "{}"},
    ]
    answer = normalised_answer(Answer.parse(json.dumps(document(files=files))))
    assert [file.path for file in answer.files] == ["index.html"]


class TestRepair:
    current = Bundle(
        "api",
        "server.js",
        (AppFile("server.js", "old"), AppFile("kept.js", "kept"), AppFile("bad.js", "bad")),
        {"express": "5"},
    )

    def repaired(self, **changes) -> Bundle:
        text = json.dumps(document(entrypoint="server.js", files=[]) | changes)
        return Answer.parse(text).merged_into(self.current)

    def test_named_files_are_replaced_or_added_and_the_others_stay(self):
        files = [{"path": "server.js", "content": "new"}, {"path": "more.js", "content": "more"}]
        merged = self.repaired(files=files)
        assert {file.path: file.content for file in merged.files} == {
            "server.js": "new",
            "kept.js": "kept",
            "bad.js": "bad",
            "more.js": "more",
        }

    def test_removed_files_go(self):
        merged = self.repaired(removed_files=["bad.js", "never-was.js"])
        assert [file.path for file in merged.files] == ["kept.js", "server.js"]

    def test_dependencies_are_those_of_the_repair(self):
        assert dict(self.repaired().dependencies) == {}

    def test_an_empty_entry_point_means_the_old_one(self):
        assert self.repaired(entrypoint="").entrypoint == "server.js"


class TestStream:
    def test_it_holds_what_arrived(self):
        stream = AnswerStream()
        for piece in ("a", "", "bc"):
            stream.add(piece)
        assert stream.text() == "abc"
        stream.add("d")
        assert (stream.text(), stream.characters) == ("abcd", 4)

    def test_at_its_limit_it_still_takes_and_one_more_ends_it_and_lets_go(self):
        stream = AnswerStream(4)
        stream.add("abcd")
        with pytest.raises(AnswerTooLong):
            stream.add("e")
        assert stream.text() == ""

    def test_the_largest_bundle_fits(self):
        # 1 MiB of lines of 16 characters: each line break takes two characters in JSON.
        content = ("x" * 15 + "\n") * (1024 * 1024 // 16)
        text = json.dumps(document(files=[{"path": "a", "content": content}]))
        assert len(text) < MAX_ANSWER_CHARACTERS

    def test_files_are_done_when_the_next_one_begins(self):
        text = json.dumps(document(files=[{"path": str(n), "content": "é\n"} for n in range(3)]))
        stream, seen = AnswerStream(), []
        for at in range(0, len(text), 7):
            stream.add(text[at : at + 7])
            seen.append(stream.files_done())
        assert seen == sorted(seen)
        assert set(seen) == {0, 1, 2}

    def test_what_is_no_json_has_no_files(self):
        stream = AnswerStream()
        stream.add("I would rather not")
        assert stream.files_done() == 0
