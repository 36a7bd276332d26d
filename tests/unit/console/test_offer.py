"""What is asked of the operator when a caller asks what may be ordered."""

import json

import pytest

from spawnai.console.caller import Caller
from spawnai.console.inside import Inside
from spawnai.console.sessions import Sessions


class Door:
    """The operator's, which notes what it is asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []

    async def read(self, _caller: Caller, path: str, query: dict[str, str]) -> bytes:
        self.asked.append((path, query))
        return json.dumps({"operator": "ok"}).encode()


@pytest.mark.parametrize(
    ("given", "query"),
    [
        ({}, {}),
        ({"user": "dana"}, {"user": "dana"}),
        ({"class_name": "large", "user": "dana"}, {"class": "large", "user": "dana"}),
    ],
)
async def test_limits_and_budgets_are_those_of_the_user_that_the_order_will_name(given, query):
    door = Door()
    inside = Inside(door, Sessions(None, door, "shop"))
    await inside.offer(Caller("token"), **given)
    assert door.asked == [("/v1/namespaces/shop/offer", query)]
