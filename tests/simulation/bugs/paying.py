"""Mistakes with money: each of them spends what nobody gave, or charges what nobody used."""

from datetime import timedelta
from decimal import Decimal

from spawnai.admission import budgets
from spawnai.billing.usage import with_usage
from spawnai.controller import admission
from spawnai.controller.actions import deploy
from spawnai.controller.admission import Admission

from .bug import bug
from .situations import money_for_one, money_for_one_of_two_classes, use_is_measured


def _counts_nothing(uid, class_name, begun, _amount):
    payer = budgets.Payer(begun.user, begun.namespace, class_name)
    return budgets.Charge(uid, payer, begun.at, Decimal(0), Decimal(0), made_anything=False)


def _only_what_it_cost(charge):
    return charge.spent


def _added_from_the_first(ledger, samples, _following):
    return with_usage(ledger, samples, 0)


_NO_SECOND_LOOK = ((Admission, "place_of_begun", lambda _self, _uid: None),)
"""A ledger that is there is looked at again before anything is made: it hides most mistakes."""


PAYING = (
    bug(
        "who was let in a moment ago is not counted in the budgets",
        (admission, "_charge_of_let_in", _counts_nothing),
        among=money_for_one,
        behind=_NO_SECOND_LOOK,
    ),
    bug(
        "a session that lives counts with what it has cost so far",
        (budgets.Charge, "amount", property(_only_what_it_cost)),
        among=money_for_one,
        behind=_NO_SECOND_LOOK,
    ),
    bug(
        "money that came back is promised in two classes, and given in both",
        (Admission, "_is_kept", lambda _self, _place, _payer: True),
        among=money_for_one_of_two_classes,
        behind=_NO_SECOND_LOOK,
    ),
    bug(
        "money that came back is offered to nobody",
        (Admission, "_recount_for_money", lambda _self, _but: None),
        (admission, "_LOOK_EVERY", timedelta(days=1)),
        among=money_for_one,
    ),
    bug(
        "how busy a droplet was is counted from the first minute at each look",
        (deploy, "with_usage", _added_from_the_first),
        among=use_is_measured,
    ),
)
