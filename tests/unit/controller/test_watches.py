"""What kopf leaves behind when it is stopped."""

import asyncio

import kopf
import pytest
from kopf._cogs.aiokits.aiotoggles import ToggleSet
from kopf._cogs.clients import watching
from kopf._cogs.structs.references import Resource

from spawnai.api.names import GROUP, VERSION
from spawnai.controller.watches import pass_over_unclosed_watches

# asyncio closes them in no order, and only one of two orders is heard of.
WATCHES = 20


async def events_without_end(**_):
    while True:
        yield {"type": "ADDED"}


async def leave_in_the_middle_of_an_event(*, quietly):
    if quietly:
        asyncio.get_running_loop().set_exception_handler(pass_over_unclosed_watches)
    left = []
    for _ in range(WATCHES):
        watch = watching.infinite_watch(
            settings=kopf.OperatorSettings(),
            resource=Resource(GROUP, VERSION, "spawnsessions"),
            namespace=None,
            operator_paused=ToggleSet(any),
        )
        await anext(watch)
        left.append(watch)
    return left


@pytest.mark.parametrize("quietly", [True, False])
def test_a_watch_left_in_the_middle_of_an_event_is_nothing_to_complain_of(
    quietly, caplog, monkeypatch
):
    """Once kopf itself closes its watches, the second case fails, and the handler may go."""
    monkeypatch.setattr(watching, "continuous_watch", events_without_end)
    left = asyncio.run(leave_in_the_middle_of_an_event(quietly=quietly))
    assert all(watch.ag_frame is None for watch in left)
    assert (caplog.messages == []) is quietly


async def fail_to_close():
    try:
        yield
    finally:
        raise OSError("the disk is full")


async def leave_a_generator_of_another_kind():
    asyncio.get_running_loop().set_exception_handler(pass_over_unclosed_watches)
    left = fail_to_close()
    await anext(left)
    return left


def test_whatever_else_could_not_be_closed_is_told(caplog):
    asyncio.run(leave_a_generator_of_another_kind())
    [message] = caplog.messages
    assert "fail_to_close" in message
