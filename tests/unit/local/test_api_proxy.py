"""The lines in which the proxy before the API server takes its faults."""

import pytest

from spawnai_local.api_proxy import Call, Fault, Kind


def call(verb: str, resource: str, name: str = "one", namespace: str = "team") -> Call:
    return Call(1, verb, resource, namespace, name, 0.0)


def test_a_line_says_which_call_suffers_what_and_how_often():
    fault = Fault.parse("patch spawnsessions/status error_after status=503 nth=2 times=2 name=one")
    assert (fault.kind, fault.status) == (Kind.ERROR_AFTER, 503)
    patch = call("patch", "spawnsessions/status")
    assert [fault.meet(patch) for _ in range(5)] == [False, True, True, False, False]
    assert (fault.matched, fault.suffered) == (3, 2)
    assert not fault.matches(call("patch", "spawnsessions/status", name="another"))
    assert not fault.matches(call("patch", "spawnsessions"))
    assert not fault.matches(call("create", "spawnsessions/status"))


def test_stars_stand_for_anything_and_no_times_for_ever():
    fault = Fault.parse("* spawn* cut_before times=0")
    assert all(fault.meet(call("watch", "spawnclasses")) for _ in range(20))


@pytest.mark.parametrize(
    "line",
    ["patch spawnsessions", "patch spawnsessions explode", "patch * slow often", "* * slow nth"],
)
def test_a_line_that_makes_no_sense_is_refused(line):
    with pytest.raises(ValueError, match=r"fault|Kind"):
        Fault.parse(line)
