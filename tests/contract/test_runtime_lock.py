"""`spawnai runtime lock` against a host that has the archives."""

import functools
import hashlib
import http.server
import threading

import pytest
import yaml

from spawnai.app_runtime.archives import CADDY, NODE
from spawnai.cli import main


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture
def mirror(tmp_path):
    handler = functools.partial(QuietHandler, directory=str(tmp_path))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture
def archives(tmp_path):
    (tmp_path / NODE.file).write_bytes(b"node")
    (tmp_path / CADDY.file).write_bytes(b"caddy")
    return tmp_path


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_it_prints_what_a_class_wants(mirror, archives, capsys):
    (archives / "SHASUMS256.txt").write_text(f"{sha256(b'node')}  {NODE.file}\n")
    assert main(["runtime", "lock", "--mirror", mirror]) == 0
    printed = yaml.safe_load(capsys.readouterr().out)
    assert printed["spec"]["runtime"] == {
        "mirror": mirror,
        "nodeSha256": sha256(b"node"),
        "caddySha256": sha256(b"caddy"),
    }


def test_an_archive_that_is_not_what_its_project_says_is_refused(mirror, archives, capsys):
    (archives / "SHASUMS256.txt").write_text(f"{'0' * 64}  {NODE.file}\n")
    assert main(["runtime", "lock", "--mirror", mirror]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert f"SHASUMS256.txt beside it says {'0' * 64}" in said.err


def test_an_archive_that_is_not_there_is_named(mirror, archives, capsys):
    (archives / CADDY.file).unlink()
    assert main(["runtime", "lock", "--mirror", mirror]) == 1
    assert f"{CADDY.file} cannot be had" in capsys.readouterr().err
