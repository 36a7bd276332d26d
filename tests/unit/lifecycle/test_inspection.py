"""The page of an app before it is Ready: who is looked at, and what follows."""

import pytest
from tests.unit.lifecycle.life import DIGEST, IP, Life, a_session, an_offer

from spawnai.api.session import AppType, SessionSpec
from spawnai.lifecycle import actions as do
from spawnai.lifecycle.observation import PageView


def life_of(app_type: str = "webapp", *, inspector: bool = True, **spec) -> Life:
    session = a_session(spec=SessionSpec(prompt="A board", app_type=app_type))
    return Life(session=session, offer=an_offer(inspector=inspector, **spec))


def looks(life: Life) -> list[do.InspectApp]:
    return [action for action in life.done if isinstance(action, do.InspectApp)]


@pytest.mark.parametrize("app_type", ["webapp", "fullstack"])
def test_a_page_is_opened_at_its_url_before_the_app_is_ready(app_type):
    life = life_of(app_type)
    life.waiting.add(do.InspectApp)
    life.settle()
    assert life.status.ready_at is None
    assert life.condition("Inspected") == ("False", "Inspecting")
    [look] = looks(life)
    life.see_effect_of(look)
    assert life.status.ready_at is not None
    assert life.condition("Inspected") == ("True", "Passed")
    assert (look.look.url, look.look.address) == (life.status.url, IP)
    assert look.look.repairs


@pytest.mark.parametrize(
    "life",
    [
        life_of(AppType.API),
        life_of(AppType.SCRIPT),
        life_of(inspector=False),
        life_of(inspection="Off"),
    ],
)
def test_nobody_looks_where_there_is_no_page_or_no_inspector(life):
    life.settle()
    assert life.status.ready_at is not None
    assert life.condition("Inspected") is None
    assert looks(life) == []


def test_a_broken_page_is_not_ready_while_it_is_repaired():
    life = life_of()
    life.page_shows = PageView(DIGEST, ("the page is blank",))
    life.waiting.add(do.InspectApp)
    life.page = life.page_shows
    life.settle()
    assert life.status.ready_at is None
    assert life.condition("Inspected") == ("False", "PageBroken")


def test_where_findings_are_only_told_the_app_is_ready_and_its_owner_hears_of_them():
    life = life_of(inspection="Warn")
    life.page_shows = PageView(DIGEST, ("the page is blank",))
    life.settle()
    assert life.status.ready_at is not None
    assert life.condition("Inspected") == ("False", "PageBroken")
    [told] = [notice for notice in life.notices if notice.reason == "PageBroken"]
    assert "the page is blank" in told.message
    assert life.condition("Degraded") == ("True", "PageBroken")
    assert life.status.message.endswith("but the page does not work: the page is blank")


def test_an_inspector_that_is_away_holds_nothing_up():
    life = life_of()
    life.page_shows = PageView(DIGEST, problem="the inspector does not answer")
    life.settle()
    assert life.status.ready_at is not None
    assert life.condition("Inspected") == ("Unknown", "NotInspected")
    assert life.reasons().count("NotInspected") == 1


def test_what_a_gateway_serves_is_found_by_its_name():
    life = life_of(exposure={"mode": "Wildcard", "domain": "apps.example.com"})
    life.settle()
    [look] = looks(life)
    assert look.look.address is None
    assert look.look.url.startswith("https://retro-board-")
