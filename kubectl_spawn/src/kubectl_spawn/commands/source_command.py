"""`kubectl spawn source`: the files of an app, into a folder."""

import io
import zipfile
from pathlib import Path, PurePosixPath

import click

from kubectl_spawn.app import App
from kubectl_spawn.cli import call_of, common_options
from kubectl_spawn.commands.find import find_app
from kubectl_spawn.console import Console, find_console
from kubectl_spawn.errors import CommandError, ExitCode

_LARGEST_BYTES = 16 << 20


@click.command("source")
@click.argument("app")
@click.option(
    "--to",
    "folder",
    type=click.Path(file_okay=False, path_type=Path),
    help="The folder; it must be empty or new. The app's name by default.",
)
@common_options
@click.pass_context
def command(
    ctx: click.Context, app: str, folder: Path | None, namespace: str | None, output: str | None
) -> None:
    """Write the files of an app into a folder."""
    call = call_of(ctx, output, namespace)
    found = find_app(call.cluster, app)
    target = folder or Path(app)
    require_empty(target)
    files = source_of(find_console(call.cluster), found)
    write_files(files, target)
    if call.terminal.as_json:
        call.terminal.document({"folder": str(target), "files": sorted(files)})
    else:
        call.terminal.done(f"{len(files)} files in {target}")


def source_of(console: Console, app: App, version: int | None = None) -> dict[str, bytes]:
    """The files of an app by their paths; of its newest version when none is named.

    Raises:
        CommandError: the console refused, or what it sent is no archive that can be trusted.
    """
    query = "" if version is None else f"?version={version}"
    data = console.bytes(f"/api/sessions/{app.namespace}.{app.name}/source{query}")
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            if sum(member.file_size for member in members) > _LARGEST_BYTES:
                raise CommandError(
                    f"the source of {app.name} is larger than {_LARGEST_BYTES} bytes"
                )
            return {_safe(member.filename): archive.read(member) for member in members}
    except zipfile.BadZipFile:
        raise CommandError(f"the console sent no zip archive for {app.name}") from None


def require_empty(folder: Path) -> None:
    """See to it that nothing of the person's own is written over.

    Raises:
        CommandError: the folder holds something, or is none.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise CommandError(
                f"{folder} is not empty: name an empty or new folder with --to",
                code=ExitCode.USAGE,
            )
    except OSError as error:
        raise CommandError(f"{folder} cannot be read: {error}") from None


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files below a folder.

    Raises:
        CommandError: they cannot be written.
    """
    try:
        for path, content in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error}") from None


def _safe(name: str) -> str:
    """The path of a file below the folder that the archive unpacks into.

    Raises:
        CommandError: it is not below one.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or len(path.parts) < 2:  # noqa: PLR2004
        raise CommandError(f"the archive holds the path {name!r}, which leaves the folder")
    return str(PurePosixPath(*path.parts[1:]))
