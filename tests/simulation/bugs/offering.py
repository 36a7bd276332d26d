"""Mistakes with classes, and with what reaches the operator about its sessions."""

from spawnai.controller.classes.controller import ClassController
from spawnai.controller.classes.firewalls import ClassFirewalls
from spawnai.controller.controller import Controller
from spawnai.lifecycle import keep, plan
from spawnai.lifecycle.limits import limits_of

from .bug import bug
from .situations import (
    droplet_shows_while_an_operator_starts,
    end_comes_while_nothing_answers,
    readiness_is_forged,
)


async def _nobody(_self, _name):
    return []


async def _leaves_its_firewall(_self, record, _account):
    return record.status.model_copy(update={"completed_at": record.created_at})


def _without_ledger(offer, session, _record=None):
    return limits_of(offer, session)


OFFERING = (
    bug("a class goes while sessions use it", (ClassController, "_users", _nobody)),
    bug(
        "a class leaves its firewall behind",
        (ClassFirewalls, "delete", _leaves_its_firewall),
        seed=5,
    ),
    bug(
        "a life is counted from what the status says of readiness",
        (keep, "limits_of", _without_ledger),
        among=readiness_is_forged,
        behind=((keep, "once_told", lambda _o, _status, wanted: wanted),),
    ),
    bug(
        "what was listed before its ledger was known is forgotten",
        (Controller, "_take_in_unlisted", lambda _self, _uid: None),
        among=droplet_shows_while_an_operator_starts,
        seed=48,
    ),
    bug(
        "who waits for something does not wake at his end",
        (plan, "_wake_at_the_end", lambda *_arguments: None),
        among=end_comes_while_nothing_answers,
        seed=45,
    ),
)
