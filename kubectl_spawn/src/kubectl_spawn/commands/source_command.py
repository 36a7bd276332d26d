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
    files = source_of(find_console(call.cluster), found)
    write_files(files, target)
    if call.terminal.as_json:
        call.terminal.document({"folder": str(target), "files": sorted(files)})
    else:
        call.terminal.done(f"{len(files)} files in {target}")


def source_of(console: Console, app: App) -> dict[str, bytes]:
    """The files of an app, by their paths.

    Raises:
        CommandError: the console refused, or what it sent is no archive that can be trusted.
    """
    data = console.bytes(f"/api/sessions/{app.namespace}.{app.name}/source")
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


def write_files(files: dict[str, bytes], folder: Path) -> None:
    """Write files into an empty or new folder.

    Raises:
        CommandError: the folder holds something, or cannot be written.
    """
    try:
        if folder.exists() and any(folder.iterdir()):
            raise CommandError(
                f"{folder} is not empty: name an empty or new folder with --to",
                code=ExitCode.USAGE,
            )
        for path, content in files.items():
            place = folder / path
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_bytes(content)
    except OSError as error:
        raise CommandError(f"{folder} cannot be written: {error}") from None


def _safe(name: str) -> str:
    """A path of the archive that stays in the folder.

    Raises:
        CommandError: it does not.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or "\\" in name or not path.parts:
        raise CommandError(f"the archive holds the path {name!r}, which leaves the folder")
    return str(path)
