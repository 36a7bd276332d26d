"""What kopf leaves behind when it is stopped, and what it overlooks."""

import asyncio
import ssl

import kopf
import pytest
from kopf._cogs.aiokits.aiotoggles import ToggleSet
from kopf._cogs.clients import watching
from kopf._cogs.structs.references import Insights, Resource

from spawnai import background
from spawnai.api.names import GROUP, VERSION
from spawnai.controller import watches
from spawnai.controller.cluster import CLASSES, KINDS, RECORDS, SESSIONS, ClusterUnavailable
from spawnai.controller.watches import (
    WatchesEnded,
    lenient,
    pass_over_unclosed_watches,
    watch,
    watch_over_kinds,
)
from spawnai_local.certificates import CertificateAuthority

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


class Discovery:
    """A cluster that tells what it serves, answer by answer; the last one stays."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = 0

    async def served_kinds(self):
        self.asked += 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return frozenset(answer)


def scanned(*plurals):
    """What kopf knows once it has asked what is served."""
    insights = Insights(watched_resources={Resource(GROUP, VERSION, one) for one in plurals})
    insights.ready_resources.set()
    return insights


@pytest.fixture
def at_once(monkeypatch):
    monkeypatch.setattr(watches, "OVERLOOKED_SECONDS", 0.001)


async def test_a_kind_that_is_served_and_not_watched_ends_the_watches(at_once):
    with pytest.raises(WatchesEnded, match=f"{SESSIONS}$"):
        await watch_over_kinds(scanned(RECORDS, CLASSES), Discovery(KINDS))


async def test_kinds_that_are_not_served_are_waited_for_also_past_an_error(at_once):
    unreachable = ClusterUnavailable("discover our kinds", "no answer")
    discovery = Discovery({RECORDS}, unreachable, {RECORDS}, {RECORDS, CLASSES})
    with pytest.raises(WatchesEnded, match=f"{CLASSES}$"):
        await watch_over_kinds(scanned(RECORDS), discovery)
    assert discovery.asked == 4


async def test_while_all_kinds_are_watched_nothing_is_asked(at_once):
    insights, discovery = scanned(*KINDS), Discovery(KINDS)
    watching_over = asyncio.create_task(watch_over_kinds(insights, discovery))
    await asyncio.sleep(0.05)
    assert (watching_over.done(), discovery.asked) == (False, 0)
    async with insights.revised:
        insights.watched_resources.clear()
        insights.revised.notify_all()
    with pytest.raises(WatchesEnded):
        await watching_over


async def test_before_kopf_has_asked_for_the_first_time_nothing_is_overlooked(at_once):
    discovery = Discovery(KINDS)
    watching_over = asyncio.create_task(watch_over_kinds(Insights(), discovery))
    await asyncio.sleep(0.05)
    assert (watching_over.done(), discovery.asked) == (False, 0)
    watching_over.cancel()


async def test_watches_that_begin_again_are_no_death_of_the_process(at_once, monkeypatch):
    """What kopf overlooked is found by another look; nobody has to end the operator for it."""
    beginnings, again = [], asyncio.Event()

    async def overlooking(*, insights, **_settings):
        beginnings.append(insights)
        insights.ready_resources.set()
        if len(beginnings) == 2:
            again.set()
        return [asyncio.create_task(asyncio.Event().wait())]

    monkeypatch.setattr(kopf, "spawn_tasks", overlooking)
    monkeypatch.setattr(watches, "_AGAIN_SECONDS", 0.001)
    operator = asyncio.create_task(watch(None, Discovery(KINDS), None, lambda: None))
    await again.wait()
    assert background.failure() is None
    operator.cancel()
    await asyncio.wait([operator])


def test_an_authority_without_key_identifiers_is_taken_as_kubectl_takes_it(tmp_path):
    """Python's default since 3.13 would refuse the certificates of many clusters."""
    authority = CertificateAuthority(tmp_path, "cluster")
    info = kopf.ConnectionInfo(
        server="https://127.0.0.1:6443", ca_path=str(authority.certificate_path), token="t"
    )
    lenient_info = lenient(info)
    assert lenient_info is not None
    context = lenient_info.as_ssl_context()
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert lenient_info.token == "t"
    assert lenient(None) is None
