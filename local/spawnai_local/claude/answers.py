"""The text of an answer: an app that fits, broken where a fault asks for it, or its repair."""

import json
from collections.abc import Collection

from spawnai_local.claude.broken_apps import misbehaving_app
from spawnai_local.claude.library import App, fitting_app
from spawnai_local.claude.request import Request

HUGE_FILE_BYTES = 10_000_000
TOO_MANY_FILES = 60

_COMMENT = {"js": "// {}\n", "py": "# {}\n"}


def answer_text(request: Request, faults: Collection[str], round_number: int) -> str:
    """What the simulated Claude writes. `round_number` counts the session's calls, from 1 on."""
    if not request.wants_app or "not-json" in faults:
        return "I would gladly write that for you, but first let me explain what I have in mind."
    app = fitting_app(request.app_type, request.prompt)
    broken = _broken(app, request.app_type, faults, round_number)
    if not request.is_repair:
        return _json(request, broken, broken.files, [])
    # A repair names what changes: files that are not shown as they should be, and those that
    # should not be there.
    current = request.current_files()
    changed = {path: text for path, text in broken.files.items() if current.get(path) != text}
    removed = [path for path in current if path not in broken.files]
    return _json(request, broken, changed, removed)


def _broken(app: App, app_type: str, faults: Collection[str], round_number: int) -> App:
    """The app with what the faults do to it. A later fault sees what an earlier one made."""
    files = dict(app.files)
    entrypoint, dependencies = app.entrypoint, dict(app.dependencies)
    main = files[app.main]
    comment = _COMMENT[app.main.rpartition(".")[2]]
    for name in faults:
        misbehaving = misbehaving_app(app_type, name)
        if misbehaving is not None:
            return misbehaving
    if "syntax-error" in faults:
        files[app.main] = f"{main}\n{comment.format(f'Try {round_number}.')}if (= {round_number}\n"
    if "same-answer" in faults:
        files[app.main] = f"{main}\nif (= 1\n"
    if "path-escape" in faults:
        files["../../etc/cron.d/escape"] = "* * * * * root id\n"
    if "huge-file" in faults:
        files["data.txt"] = "0123456789abcdef" * (HUGE_FILE_BYTES // 16)
    if "too-many-files" in faults:
        files |= {f"part{number}.txt": f"{number}\n" for number in range(TOO_MANY_FILES)}
    if "secret" in faults:
        begin = "-----BEGIN " + "PRIVATE KEY-----"
        files["key.txt"] = f"{begin}\nno key, it only looks like one\n"
    if "missing-entrypoint" in faults:
        files[f"first-{entrypoint}"] = files.pop(entrypoint)
    if "missing-dependency" in faults:
        if app_type == "api":
            files[app.main] = f"{main}\nrequire('lodash');\n"
        elif app_type == "script":
            files[app.main] = f"import numpy\n{main}"
    return App(entrypoint, files, dependencies, app.main)


def _json(request: Request, app: App, files: dict[str, str], removed: list[str]) -> str:
    """The app in the shape that was asked for: the properties of the request's own schema."""
    kind = request.app_type if request.app_type != "webapp" else "web app"
    document = {
        "entrypoint": app.entrypoint,
        "note": f"A small {kind} from the simulated Claude; nothing was left out.",
        "dependencies": list(app.dependencies),
        "removed_files": removed,
        "files": [{"path": path, "content": content} for path, content in files.items()],
    }
    return json.dumps(
        {name: value for name, value in document.items() if name in request.properties},
        ensure_ascii=False,
    )
