import hashlib
import http.server
import io
import platform
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from spawnai.app_runtime import NODE_VERSION
from spawnai_local import go_build, toolchain
from spawnai_local.building import PROGRAMS, ControlPlaneVersions, ToolchainError, appears_whole
from spawnai_local.paths import cache_directory
from spawnai_local.release_download import ReleaseSites, download_release

VERSIONS = ControlPlaneVersions(kubernetes="v1.2.3", etcd="v3.4.5")
ARCHITECTURE = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), "none")


def silent(line: str) -> None:
    pass


def put_programs(directory: Path) -> None:
    directory.mkdir(parents=True)
    for name in PROGRAMS:
        (directory / name).touch(mode=0o755)


class Publisher:
    """A site that serves what `files` holds, by path."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        files = self.files

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = files.get(self.path)
                self.send_response(200 if content is not None else 404)
                self.send_header("Content-Length", str(len(content or b"")))
                self.end_headers()
                self.wfile.write(content or b"")

            def log_message(self, format: str, *arguments: object) -> None:  # noqa: A002
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.sites = ReleaseSites(kubernetes=self.url, etcd=self.url)

    def publish_release(self) -> None:
        for name in ("kube-apiserver", "kube-controller-manager"):
            path = f"/v1.2.3/bin/linux/{ARCHITECTURE}/{name}"
            self.files[path] = name.encode()
            self.files[f"{path}.sha256"] = hashlib.sha256(name.encode()).hexdigest().encode()
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo(f"etcd-v3.4.5-linux-{ARCHITECTURE}/etcd")
            member.size = 4
            tar.addfile(member, io.BytesIO(b"etcd"))
        name = f"etcd-v3.4.5-linux-{ARCHITECTURE}.tar.gz"
        checksum = hashlib.sha256(archive.getvalue()).hexdigest()
        self.files[f"/v3.4.5/{name}"] = archive.getvalue()
        self.files["/v3.4.5/SHA256SUMS"] = f"{'0' * 64}  other\n{checksum}  {name}\n".encode()


@pytest.fixture
def publisher(monkeypatch: pytest.MonkeyPatch) -> Iterator[Publisher]:
    for variable in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy"):
        monkeypatch.delenv(variable, raising=False)
    publisher = Publisher()
    publisher.publish_release()
    thread = threading.Thread(target=publisher.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    yield publisher
    publisher.server.shutdown()
    thread.join()
    publisher.server.server_close()


def test_a_verified_download_gives_the_three_programs(publisher: Publisher, tmp_path: Path) -> None:
    directory = tmp_path / "released"
    assert download_release(directory, VERSIONS, silent, publisher.sites)
    assert {path.name: path.read_text() for path in directory.iterdir()} == {
        name: name for name in PROGRAMS
    }
    assert all(path.stat().st_mode & 0o111 for path in directory.iterdir())


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        (f"/v1.2.3/bin/linux/{ARCHITECTURE}/kube-apiserver", b"tampered", "publisher says"),
        (f"/v3.4.5/etcd-v3.4.5-linux-{ARCHITECTURE}.tar.gz", b"tampered", "publisher says"),
        ("/v3.4.5/SHA256SUMS", b"0  other\n", "do not list"),
        ("/v3.4.5/SHA256SUMS", None, "404"),
        (f"/v1.2.3/bin/linux/{ARCHITECTURE}/kube-apiserver.sha256", b"", "IndexError"),
    ],
)
def test_a_download_that_is_not_what_its_publisher_says_is_refused_and_leaves_nothing(
    publisher: Publisher, tmp_path: Path, path: str, content: bytes | None, reason: str
) -> None:
    assert path in publisher.files
    if content is None:
        del publisher.files[path]
    else:
        publisher.files[path] = content
    reported: list[str] = []
    assert not download_release(tmp_path / "x", VERSIONS, reported.append, publisher.sites)
    assert reason in reported[-1]
    assert list(tmp_path.iterdir()) == []


def test_a_site_that_does_not_answer_is_not_waited_for(
    publisher: Publisher, tmp_path: Path
) -> None:
    nobody = "http://127.0.0.1:1"
    reported: list[str] = []
    sites = ReleaseSites(kubernetes=publisher.url, etcd=nobody)
    assert not download_release(tmp_path / "x", VERSIONS, reported.append, sites)
    assert reported == ["the official Kubernetes binaries cannot be reached from here"]


def test_the_directory_of_controller_tests_comes_first(tmp_path: Path) -> None:
    assets = tmp_path / "assets"
    put_programs(assets)
    environment = {"KUBEBUILDER_ASSETS": str(assets), "SPAWNAI_CACHE": str(tmp_path / "cache")}
    found = toolchain.control_plane_programs(silent, environment)
    assert found.etcd == assets / "etcd"
    assert found.origin == "KUBEBUILDER_ASSETS"


def test_an_incomplete_assets_directory_is_said_and_the_cache_is_used(tmp_path: Path) -> None:
    (tmp_path / "assets").mkdir()
    cache = tmp_path / "cache"
    versions = toolchain.pinned_versions()
    put_programs(cache / "control-plane" / f"released-{versions.kubernetes}-etcd-{versions.etcd}")
    environment = {
        "KUBEBUILDER_ASSETS": str(tmp_path / "assets"),
        "SPAWNAI_CACHE": str(cache),
    }
    reported: list[str] = []
    found = toolchain.control_plane_programs(reported.append, environment)
    assert found.origin == "downloaded before"
    assert "does not hold etcd, kube-apiserver, kube-controller-manager" in reported[0]


def test_a_cache_that_cannot_be_written_is_named_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    environment = {"SPAWNAI_CACHE": str(tmp_path / "file")}
    with pytest.raises(ToolchainError, match=r"cannot be written .* Set SPAWNAI_CACHE"):
        toolchain.control_plane_programs(silent, environment)


def test_the_cache_is_where_the_user_says_and_else_where_caches_are() -> None:
    home = {"HOME": "/home/someone"}
    assert cache_directory(home) == Path("/home/someone/.cache/spawnai")
    assert cache_directory(home | {"XDG_CACHE_HOME": "/xdg"}) == Path("/xdg/spawnai")
    assert cache_directory(home | {"XDG_CACHE_HOME": "/xdg", "SPAWNAI_CACHE": "/c"}) == Path("/c")


def test_a_directory_that_was_not_filled_whole_never_appears(tmp_path: Path) -> None:
    def fill_half() -> None:
        with appears_whole(tmp_path / "programs") as target:
            (target / "etcd").touch()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fill_half()
    assert list(tmp_path.iterdir()) == []


def test_our_own_go_keeps_its_files_in_the_cache_and_out_of_the_home_directory() -> None:
    user = {"HOME": "/home/someone", "GOPROXY": "a", "GOFLAGS": "-b", "GOROOT": "/old"}
    ours = go_build.go_environment(user, own_go=True)
    assert ours["GOMODCACHE"] == "/home/someone/.cache/spawnai/go/modules"
    assert ours["GOCACHE"] == "/home/someone/.cache/spawnai/go/build"
    assert (ours["GOPROXY"], ours["GOFLAGS"]) == ("a", "-b")
    assert "GOROOT" not in ours
    theirs = go_build.go_environment(user, own_go=False)
    assert "GOMODCACHE" not in theirs


def test_a_go_that_is_too_old_is_passed_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = tmp_path / "go"
    old.write_text("#!/bin/sh\necho go1.25.9\n")
    old.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    reported: list[str] = []
    go, own_go = go_build.go_program(reported.append)
    assert own_go
    assert go != old
    assert reported == [f"Go at {old} is older than 1.26; using the virtual environment's"]


def test_a_failed_build_ends_with_go_s_own_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = tmp_path / "go"
    broken.write_text(
        "#!/bin/sh\n[ $1 = env ] && echo go1.99.0 && exit\necho no disk >&2; exit 7\n"
    )
    broken.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "go.sum").write_text("")
    with pytest.raises(ToolchainError, match=r"(?s)`go list` ended with code 7.*no disk.*GOPROXY"):
        go_build.build_control_plane(tmp_path, tmp_path / "built", VERSIONS, silent, {})
    assert not (tmp_path / "built").exists()


def test_only_one_process_makes_the_programs_at_a_time(tmp_path: Path) -> None:
    program = (
        "import sys, pathlib; from spawnai_local import toolchain\n"
        f"with toolchain._only_one(pathlib.Path({str(tmp_path)!r}), toolchain.report_to_stderr):\n"
        "    print('held', flush=True); sys.stdin.read()\n"
    )

    def start() -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        return subprocess.Popen(
            [sys.executable, "-c", program], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )

    with start() as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with start() as second:
            assert second.stderr is not None
            assert "waiting for it" in second.stderr.readline()
            first.kill()  # a builder that dies holds nobody up
            assert second.stdout is not None
            assert second.stdout.readline() == "held\n"
            second.communicate()
        first.communicate()


@pytest.mark.parametrize("find", [toolchain.kubectl, toolchain.caddy, toolchain.node])
def test_the_virtual_environment_brings_the_programs_of_a_droplet_and_kubectl(find) -> None:
    arguments = ["version", "--client"] if find is toolchain.kubectl else ["--version"]
    answer = subprocess.run([find(), *arguments], capture_output=True, timeout=30, check=True)
    assert answer.stdout


def test_node_is_the_locked_one_whatever_the_path_has(tmp_path, monkeypatch) -> None:
    """The host's own may be of another major version, for which no app was written."""
    other = tmp_path / "node"
    other.write_text("#!/bin/sh\necho v20.0.0\n")
    other.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("sysconfig.get_path", lambda _name: str(tmp_path / "none"))
    answer = subprocess.run(
        [toolchain.node(), "--version"], capture_output=True, timeout=30, check=True
    )
    major = NODE_VERSION.partition(".")[0]
    assert answer.stdout.decode().startswith(f"v{major}.")
    assert toolchain.npm().name == "npm-cli.js"
