"""`kubectl spawn eject` writes a commit for each version of an app."""

from datetime import UTC, datetime

import pytest
from dulwich.repo import Repo

from kubectl_spawn.commands.eject_command import Version, commit_versions
from kubectl_spawn.errors import CommandError

FIRST = datetime(2026, 11, 29, 12, 0, tzinfo=UTC)
LATER = datetime(2026, 11, 29, 13, 0, tzinfo=UTC)
VERSIONS = [
    Version("A clock\nwith hands", FIRST, {"index.html": b"one", "old/a.css": b"a"}),
    Version("A digital clock", LATER, {"index.html": b"two", "new.js": b"b"}),
]


def test_each_version_is_a_commit_with_its_prompt_and_date(tmp_path):
    folder = tmp_path / "clock"
    commit_versions("clock", VERSIONS, folder, "trunk")
    with Repo(str(folder)) as repository:
        told = [
            (entry.commit.message, entry.commit.commit_time)
            for entry in repository.get_walker(reverse=True)
        ]
        assert repository.refs.get_symrefs()[b"HEAD"] == b"refs/heads/trunk"
        tree = {entry.path for entry in repository.object_store.iter_tree_contents(
            repository[repository.head()].tree
        )}  # fmt: skip
    assert told == [
        (b"clock: A clock\n", int(FIRST.timestamp())),
        (b"clock: A digital clock\n", int(LATER.timestamp())),
    ]
    assert tree == {b"index.html", b"new.js"}
    assert (folder / "index.html").read_bytes() == b"two"
    assert not (folder / "old" / "a.css").exists()


def test_what_is_in_a_folder_is_never_written_over(tmp_path):
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(CommandError, match="is not empty"):
        commit_versions("clock", VERSIONS, tmp_path, "main")
    assert [one.name for one in tmp_path.iterdir()] == ["mine"]
