"""Mistakes in replacing a droplet."""

from spawnai.controller.actions import replace as replace_actions
from spawnai.lifecycle import build, replacing, resources
from spawnai.lifecycle.actions import GenerateApp

from .bug import bug
from .situations import a_droplet_breaks, no_agent_is_reached, two_droplets_are_lost

_give_up = resources.give_up


def _sees_only_silence(o, _now):
    return o.silent_since is not None


def _at_once(d, record):
    _give_up(d, record)
    return True


def _only_the_droplet(_ledger, droplet_id, *, named_certificate):
    return [droplet_id]


def _ordered_anew(d):
    if d.observation.bundle is None:
        d.do(GenerateApp(is_first=True))


REPLACING = (
    bug(
        "a silent droplet is rebooted although nobody else answers",
        (replacing, "_is_certain", _sees_only_silence),
        among=no_agent_is_reached,
    ),
    bug(
        "another droplet is made before the old one is gone",
        (build, "give_up", _at_once),
        among=a_droplet_breaks,
        seed=9,
    ),
    bug(
        "a replaced droplet takes its name along",
        (replace_actions, "given_up_parts", _only_the_droplet),
        among=a_droplet_breaks,
        seed=8,
    ),
    bug(
        "the app is ordered again for another droplet",
        (build, "_find_app", _ordered_anew),
        among=a_droplet_breaks,
    ),
    bug(
        "droplets are replaced all at once",
        (replace_actions.ReplacementPace, "is_open", lambda _pace: True),
        among=two_droplets_are_lost,
    ),
)
