"""Imports pydo's async client without its seventy generated operation groups.

Importing `pydo.aio` loads two modules of 20 MB source each, the sync and the async operation
groups, although the client works without them: `Client.send_request` sends any request through
the same pipeline. Measured with pydo 0.44 on Python 3.11, resident memory of a bare process with
aiohttp: 33 MB; with `pydo.aio` and a client: 101 MB; imported here: 38 MB. Without compiled
bytecode the full import takes 1.4 s and peaks at 320 MB, which a small container does not survive.

While `pydo.aio` is imported, two empty stand-ins take the place of the operation modules. They
are gone again afterwards: whoever imports `pydo.operations` later gets the real ones. Should a
later pydo not stand for this, the full import is used instead.
"""

import importlib
import logging
import sys
from types import ModuleType
from typing import Any

_LOGGER = logging.getLogger(__name__)
_OPERATION_MODULES = ("pydo.operations", "pydo.aio.operations")


class _NoOperations:
    """Stands where an operation group would: accepts what a group is made with, does nothing."""

    def __init__(self, *_arguments: object, **_keywords: object) -> None:
        pass


class _StandIn(ModuleType):
    """A module in which every public name is an empty operation group."""

    def __getattr__(self, name: str) -> type[_NoOperations]:
        if name.startswith("_"):
            raise AttributeError(name)
        return _NoOperations


def import_client() -> Any:
    """Return the class `pydo.aio.Client`, imported as leanly as pydo allows.

    Only `send_request` and `close` of its instances may be relied on: when the lean import
    worked, the operation groups (`client.droplets` and so on) do nothing.

    Raises:
        ImportError: pydo or one of the libraries of its `aio` extra is not installed.
    """
    loaded = sys.modules.get("pydo.aio")
    if loaded is not None:
        return loaded.Client
    if any(name == "pydo" or name.startswith("pydo.") for name in sys.modules):
        return importlib.import_module("pydo.aio").Client
    stand_ins = {name: _StandIn(name) for name in _OPERATION_MODULES}
    sys.modules.update(stand_ins)
    try:
        client = importlib.import_module("pydo.aio").Client
        client("no-token").send_request  # noqa: B018 - a missing method must show here, not later
    except Exception as error:  # noqa: BLE001 - whatever it is, the full import is the answer
        _LOGGER.warning(
            "pydo could not be imported without its operation groups (%s: %s); importing all of it,"
            " which costs about 60 MB of memory",
            type(error).__name__,
            error,
        )
        for name in [name for name in sys.modules if name.split(".", 1)[0] == "pydo"]:
            del sys.modules[name]
        return importlib.import_module("pydo.aio").Client
    finally:
        for name, stand_in in stand_ins.items():
            if sys.modules.get(name) is stand_in:
                del sys.modules[name]
    return client
