"""Mistakes in keeping a running session, and its time."""

from dataclasses import replace
from datetime import timedelta

from spawnai.api.conditions import ConditionType
from spawnai.controller import reconciler
from spawnai.controller.actions import revise
from spawnai.controller.actions.bundles import Bundles
from spawnai.controller.health_watch import HealthWatch
from spawnai.lifecycle import actions, build, expiry, keep, plan, revisions, summary, teardown
from spawnai.lifecycle.plan import plan as make_plan

from .bug import bug
from .situations import (
    app_is_a_process_that_may_break,
    end_goes_back_to_what_it_was,
    end_is_put_off_at_the_last_moment,
    prompt_changes,
)

_resolve, _announce = expiry.resolve, summary.announce_expiry
_versions = Bundles.versions


def _without_cap(wish, limits, **times):
    return _resolve(wish, replace(limits, maximum=timedelta(days=400)), **times)


def _notice_again(wish, limits, **times):
    found = _resolve(wish, limits, **times)
    if found.time is not None and found.time <= times["now"] and not wish.now:
        return replace(found, time=times["now"] + limits.notice)
    return found


def _what_the_status_says(wish, limits, **times):
    found = _resolve(wish, limits, **times)
    return replace(found, time=times["promised"] or found.time)


async def _without_prompts(bundles, session):
    return [replace(version, prompt="") for version in await _versions(bundles, session)]


def _for_ever(observation, now):
    made = make_plan(observation, now)
    session = observation.session
    if session is not None and session.status.phase == "Destroyed":
        # A time to come: what is due already is looked at again at the pace of the queue's backoff.
        return replace(made, wake_at=now + timedelta(milliseconds=10))
    return made


def _warns_again(d, offer, found, now):
    _announce(d, offer, found, now)
    if d.has(ConditionType.EXPIRING_SOON):
        d.notice("Warning", "ExpiringSoon", "Expire", d.message_of(ConditionType.EXPIRING_SOON))


def _told_once(d, switch, _now):
    if d.observation.effort(switch.key).done_at is None:
        d.do(switch)


def _of_its_own(switch):
    return f"SetExpiry:{int(switch.expires_at.timestamp())}"


KEEPING = (
    bug("the class's cap is ignored", (keep, "resolve", _without_cap)),
    bug("the notice begins again at each look", (keep, "resolve", _notice_again), seed=270),
    bug(
        "the expiry is read from the status, which users can write",
        (keep, "resolve", _what_the_status_says),
        seed=7,
    ),
    bug("a session that is over is looked at for ever", (reconciler, "plan", _for_ever)),
    bug(
        "an app that was stopped for an end which is put off is left so",
        (keep, "_is_stopped", lambda _observation: False),
        among=end_is_put_off_at_the_last_moment,
    ),
    bug("the app is not told of its end", (keep, "stops_ahead", lambda *_: timedelta())),
    bug(
        "each end is told to the droplet's switch once",
        (actions.SetExpiry, "key", property(_of_its_own)),
        (keep, "_move_switch", _told_once),
        (keep, "once_told", lambda _o, _status, wanted: wanted),
        among=end_goes_back_to_what_it_was,
    ),
    bug("the end is warned of twice", (build, "announce_expiry", _warns_again)),
    bug(
        "a log that was taken for an earlier end is kept as the last",
        (keep, "is_last_log", lambda taken, _end: taken.started_at is not None),
        (teardown, "is_last_log", lambda taken, _end: taken.started_at is not None),
        among=end_is_put_off_at_the_last_moment,
    ),
    bug(
        "an app that breaks early is asked after as seldom as an old one",
        (keep, "FIRST_LOOK", keep.LONGEST_UNSEEN),
        among=app_is_a_process_that_may_break,
        behind=((HealthWatch, "follow", lambda *_: None),),
    ),
    bug(
        "an app that stops again after each repair is repaired without end",
        (revise, "MAX_REPAIRS", 99),
        among=app_is_a_process_that_may_break,
        seed=35,
    ),
    bug(
        "a new prompt of a running app is passed over",
        (revisions, "_fits", lambda *_: True),
        among=prompt_changes,
    ),
    bug(
        "the app of an earlier prompt is ordered again",
        (Bundles, "versions", _without_prompts),
        among=prompt_changes,
    ),
    bug(
        "the end of an app that stopped for good is told like any other",
        (plan, "app_failure", lambda _o: None),
        among=app_is_a_process_that_may_break,
    ),
)
