"""The dead man's switch decides by what the clocks say."""

from dataclasses import replace

from spawnai.droplet.agent.settings import Session
from spawnai.droplet.agent.switch import (
    Expiry,
    Moment,
    first_promise,
    is_over,
    promise_after_reboot,
    promise_for,
    promise_without_memory,
)

DAY = 86_400.0
EXPIRES = 1_800_000_000.0
GRACE = 600.0
SESSION = Session.of(
    {
        "sessionUid": "uid",
        "appType": "api",
        "tokenSha256": "0" * 64,
        "expiresAt": EXPIRES,
        "graceSeconds": GRACE,
        "lifetimeSeconds": 3600.0,
        "agent": {"certificate": "", "key": ""},
        "operatorCertificate": "",
        "gateway": None,
    }
)


def over(promise, clock, up_seconds=1000.0):
    return is_over(promise, clock=clock, up_seconds=up_seconds, settle_seconds=120.0)


def test_the_first_life_is_counted_whatever_the_date_is():
    # An hour and the grace of ten minutes, from the boot's second 10.
    for date in (EXPIRES - 3600, EXPIRES + DAY, EXPIRES - 400 * DAY):
        promise = first_promise(SESSION, Moment(10.0, date, "boot"))
        assert not over(promise, 10.0 + 3600 + GRACE - 1)
        assert over(promise, 10.0 + 3600 + GRACE)


def test_an_operator_that_tells_no_duration_is_taken_at_its_date():
    at = Moment(10.0, EXPIRES - 100, "boot")
    promise = first_promise(replace(SESSION, lifetime_seconds=None), at)
    assert not over(promise, 10.0 + 100 + GRACE - 1)
    assert over(promise, 10.0 + 100 + GRACE)


def test_an_extension_counts_from_when_the_agent_heard_it():
    # Heard at second 50, taken in at second 55, two hours.
    expiry = Expiry(3, EXPIRES + 7200, 7200.0, GRACE, 50.0, "boot")
    promise = promise_for(expiry, Moment(55.0, EXPIRES, "boot"))
    assert (promise.number, promise.expires_at) == (3, EXPIRES + 7200)
    assert promise.deadline == 50.0 + 7200 + GRACE


def test_what_was_heard_before_a_reboot_counts_from_now():
    expiry = Expiry(3, EXPIRES, 100.0, GRACE, 5000.0, "the boot before")
    promise = promise_for(expiry, Moment(3.0, EXPIRES, "boot"))
    assert promise.deadline == 3.0 + 100 + GRACE


def test_the_time_a_droplet_was_off_counts():
    old = first_promise(SESSION, Moment(10.0, EXPIRES - 3600, "before"))
    # Off for 1000 s.
    new = promise_after_reboot(old, Moment(2.0, EXPIRES - 2600, "boot"))
    assert new.deadline == 2.0 + 3600 + GRACE - 1000


def test_a_date_that_went_back_lengthens_nothing():
    old = first_promise(SESSION, Moment(10.0, EXPIRES - 3600, "before"))
    new = promise_after_reboot(old, Moment(2.0, EXPIRES - DAY, "boot"))
    assert new.deadline == 2.0 + 3600 + GRACE


def test_after_a_boot_a_date_that_says_it_is_over_is_believed_once_it_may_have_been_set_right():
    old = first_promise(SESSION, Moment(10.0, EXPIRES - 3600, "before"))
    new = promise_after_reboot(old, Moment(2.0, EXPIRES + DAY, "boot"))
    assert not over(new, 100.0, up_seconds=119.0)
    assert over(new, 101.0, up_seconds=120.0)


def test_what_was_over_before_the_reboot_is_over_at_once():
    old = first_promise(replace(SESSION, lifetime_seconds=-GRACE), Moment(10.0, EXPIRES, "before"))
    new = promise_after_reboot(old, Moment(2.0, EXPIRES + 5, "boot"))
    assert over(new, 2.0, up_seconds=0.0)


def test_a_promise_that_cannot_be_read_gives_no_new_hour():
    at = Moment(10.0, EXPIRES + GRACE + 1, "boot")
    assert over(promise_without_memory(SESSION, at), 10.0)
