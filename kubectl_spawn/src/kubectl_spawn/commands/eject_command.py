"""`kubectl spawn eject`: an app's files and versions into a folder or a Git remote."""

import tempfile
from datetime import UTC, datetime
from pathlib import Path

import click

from kubectl_spawn.app import App
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.commands.source_command import source_of, write_files
from kubectl_spawn.console import find_console
from kubectl_spawn.errors import CommandError, ExitCode

_AUTHOR = b"SpawnAI <noreply@spawn-ai.com>"

_NODE = "The app needs Node.js 24 or later:\n\n    npm install\n    PORT=8000 node server.js\n"
_RUN = {
    "webapp": "The app is files for a browser:\n\n    python3 -m http.server 8000\n",
    "api": _NODE,
    "fullstack": _NODE,
    "script": "The app needs Python 3.11 or later:\n\n    python3 main.py\n",
}


@click.command("eject")
@click.argument("app")
@click.option("--to", "target", required=True, metavar="DIR|GIT_URL", help="Where it goes.")
@click.option("--branch", default="main", help="The branch of the Git remote: main by default.")
@common_options
@click.pass_context
def command(  # noqa: PLR0917 - click's own order
    ctx: click.Context,
    app: str,
    target: str,
    branch: str,
    namespace: str | None,
    output: str | None,
) -> None:
    """Take an app out: a Git repository with its files and a README that says how to run it.

    The session goes on. The README holds the prompt and the way to run the app without SpawnAI.
    """
    call = call_of(ctx, output, namespace)
    found = find_app(call.cluster, app)
    files = source_of(find_console(call.cluster), found)
    files.setdefault("README.md", readme(found).encode())
    if _is_remote(target):
        with tempfile.TemporaryDirectory() as folder:
            _commit(found, files, Path(folder) / "app", branch)
            _push(Path(folder) / "app", target, branch)
        says = f"pushed {len(files)} files to {target}, branch {branch}"
    else:
        _commit(found, files, Path(target), branch)
        says = f"{len(files)} files in {target}, a Git repository with one commit"
    if call.terminal.as_json:
        call.terminal.document({"to": target, "branch": branch, "files": sorted(files)})
    else:
        call.terminal.done(f"{says}; README.md says how to run it without SpawnAI")


def readme(app: App) -> str:
    """The README of an app that was taken out."""
    kind = str(app.spec.get("appType", ""))
    prompt = "\n".join(f"> {line}" for line in str(app.spec.get("prompt", "")).splitlines())
    note = app.status.get("note")
    return (
        f"# {app.name}\n\nWritten by Claude from this text:\n\n{prompt}\n\n"
        + (f"Claude notes: {note}\n\n" if note else "")
        + f"## Run it\n\n{_RUN.get(kind, '')}"
    )


def _is_remote(target: str) -> bool:
    return "://" in target or (":" in target.split("/", 1)[0] and not Path(target).exists())


def _commit(app: App, files: dict[str, bytes], folder: Path, branch: str) -> None:
    from dulwich import porcelain
    from dulwich.refs import HEADREF, Ref

    write_files(files, folder)
    repository = porcelain.init(str(folder))
    try:
        repository.refs.set_symbolic_ref(HEADREF, Ref(f"refs/heads/{branch}".encode()))
        porcelain.add(repository, paths=[str(folder / path) for path in files])
        message = f"{app.name}: {str(app.spec.get('prompt', '')).splitlines()[0][:60]}\n"
        porcelain.commit(
            repository,
            message=message.encode(),
            author=_AUTHOR,
            committer=_AUTHOR,
            commit_timestamp=(app.created or datetime.now(UTC)).timestamp(),
        )
    finally:
        repository.close()


def _push(folder: Path, remote: str, branch: str) -> None:
    from dulwich import porcelain
    from dulwich.errors import GitProtocolError, HangupException, NotGitRepository

    reference = f"refs/heads/{branch}"
    try:
        porcelain.push(str(folder), remote, f"{reference}:{reference}".encode())
    except (GitProtocolError, HangupException, NotGitRepository, porcelain.Error, OSError) as error:
        raise CommandError(
            f"{remote} did not take the push to branch {branch}",
            code=ExitCode.UNEXPECTED,
            cause=str(error),
            next_steps=("kubectl spawn eject … --branch ANOTHER",),
        ) from None
