"""`kubectl spawn eject`: an app's files and versions into a folder or a Git remote."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import click

from kubectl_spawn.app import App
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.commands.source_command import require_empty, source_of, write_files
from kubectl_spawn.console import Console, find_console
from kubectl_spawn.durations import parse_time
from kubectl_spawn.errors import CommandError, ExitCode

_AUTHOR = b"SpawnAI <noreply@spawn-ai.com>"

_NODE = "The app needs Node.js 24 or later:\n\n    npm install\n    PORT=8000 node server.js\n"
_RUN = {
    "webapp": "The app is files for a browser:\n\n    python3 -m http.server 8000\n",
    "api": _NODE,
    "fullstack": _NODE,
    "script": "The app needs Python 3.11 or later:\n\n    python3 main.py\n",
}


@dataclass(frozen=True, slots=True)
class Version:
    """One version of an app: what asked for it, and when it was written."""

    prompt: str
    written_at: datetime
    files: dict[str, bytes]


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

    The session goes on. Each version of the app is a commit. The README holds the prompt and the
    way to run the app without SpawnAI.
    """
    call = call_of(ctx, output, namespace)
    found = find_app(call.cluster, app)
    versions = _versions_of(find_console(call.cluster), found)
    files = versions[-1].files
    commits = f"{len(versions)} commit" + ("s" if len(versions) > 1 else "")
    if _is_remote(target):
        with tempfile.TemporaryDirectory() as folder:
            commit_versions(found.name, versions, Path(folder) / "app", branch)
            _push(Path(folder) / "app", target, branch)
        says = f"pushed {len(files)} files in {commits} to {target}, branch {branch}"
    else:
        commit_versions(found.name, versions, Path(target), branch)
        says = f"{len(files)} files in {target}, a Git repository with {commits}"
    if call.terminal.as_json:
        call.terminal.document(
            {"to": target, "branch": branch, "commits": len(versions), "files": sorted(files)}
        )
    else:
        call.terminal.done(f"{says}; README.md says how to run it without SpawnAI")


def _versions_of(console: Console, app: App) -> list[Version]:
    """All versions with their files, the oldest first; the one that runs comes last."""
    listed = console.json(f"/api/sessions/{app.namespace}.{app.name}/versions")["items"]
    running = app.status.get("generation", {}).get("bundleDigest")
    listed.sort(key=lambda one: (one["digest"] == running, one["version"]))
    found = []
    for one in listed:
        files = source_of(console, app, one["version"])
        prompt = one["prompt"] or str(app.spec.get("prompt", ""))
        files.setdefault("README.md", readme(app, prompt).encode())
        found.append(Version(prompt, parse_time(one["writtenAt"]) or datetime.now(UTC), files))
    if not found:
        raise CommandError(f"{app.name} has no version yet", code=ExitCode.NOT_FOUND)
    return found


def readme(app: App, prompt: str) -> str:
    """The README of an app that was taken out."""
    kind = str(app.spec.get("appType", ""))
    prompt = "\n".join(f"> {line}" for line in prompt.splitlines())
    note = app.status.get("note")
    return (
        f"# {app.name}\n\nWritten by Claude from this text:\n\n{prompt}\n\n"
        + (f"Claude notes: {note}\n\n" if note else "")
        + f"## Run it\n\n{_RUN.get(kind, '')}"
    )


def _is_remote(target: str) -> bool:
    return "://" in target or (":" in target.split("/", 1)[0] and not Path(target).exists())


def commit_versions(name: str, versions: list[Version], folder: Path, branch: str) -> None:
    """Make a Git repository of an app, with a commit for each of its versions.

    Raises:
        CommandError: the folder holds something, or cannot be written.
    """
    from dulwich import porcelain
    from dulwich.refs import HEADREF, Ref

    require_empty(folder)
    folder.mkdir(parents=True, exist_ok=True)
    repository = porcelain.init(str(folder))
    try:
        repository.refs.set_symbolic_ref(HEADREF, Ref(f"refs/heads/{branch}".encode()))
        before: set[str] = set()
        for version in versions:
            write_files(version.files, folder)
            porcelain.add(repository, paths=[str(folder / path) for path in version.files])
            gone = [str(folder / path) for path in sorted(before - version.files.keys())]
            if gone:
                porcelain.remove(repository, paths=gone)
            before = set(version.files)
            lines = version.prompt.splitlines() or [""]
            porcelain.commit(
                repository,
                message=f"{name}: {lines[0][:60]}\n".encode(),
                author=_AUTHOR,
                committer=_AUTHOR,
                commit_timestamp=version.written_at.timestamp(),
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
