"""A Git repository of this machine, served by HTTP as a forge serves it."""

import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from wsgiref.simple_server import make_server

from dulwich import porcelain
from dulwich.refs import HEADREF, Ref
from dulwich.repo import Repo
from dulwich.server import DictBackend, UploadPackHandler
from dulwich.web import WSGIRequestHandlerLogger, WSGIServerLogger, make_wsgi_chain

BRANCH = "main"
AUTHOR = b"A person <person@example.com>"


class UploadPack(UploadPackHandler):
    """Serves clients that take whole packs alone, as Flux's does; dulwich turns them away."""

    @classmethod
    def required_capabilities(cls) -> tuple[bytes, ...]:
        return ()


class GitRepository:
    """A repository that a person commits to; `url` is where others clone it."""

    def __init__(self, repository: Repo, url: str) -> None:
        self.url = url
        self._repository = repository

    def commit(self, message: str, files: Mapping[str, str | None]) -> str:
        """Commit new texts of files, None for one that is removed; returns the revision."""
        for path, text in files.items():
            file = Path(self._repository.path) / path
            if text is None:
                porcelain.remove(self._repository, paths=[str(file)])
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(text)
                porcelain.add(self._repository, paths=[str(file)])
        commit = porcelain.commit(
            self._repository, message=message.encode(), author=AUTHOR, committer=AUTHOR
        )
        return f"{BRANCH}@sha1:{commit.decode()}"


@contextmanager
def served(folder: Path) -> Iterator[GitRepository]:
    """An empty repository in a new folder, served on the loopback address until the end."""
    folder.mkdir(parents=True)
    repository = porcelain.init(str(folder))
    repository.refs.set_symbolic_ref(HEADREF, Ref(f"refs/heads/{BRANCH}".encode()))
    server = make_server(
        "127.0.0.1",
        0,
        make_wsgi_chain(DictBackend({"/": repository}), handlers={b"git-upload-pack": UploadPack}),
        server_class=WSGIServerLogger,
        handler_class=WSGIRequestHandlerLogger,
    )
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1})
    thread.start()
    try:
        yield GitRepository(repository, f"http://127.0.0.1:{server.server_port}/")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        repository.close()
