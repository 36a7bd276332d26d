"""Where a droplet is made: in order, or spread over the regions."""

from tests.unit.lifecycle.life import Life, a_session, an_offer

from spawnai.api.session import AppType, SessionSpec
from spawnai.lifecycle.placing import placements

REGIONS = ["ams3", "fra1", "lon1"]


def regions(uid: str = "one", load: dict[str, int] | None = None, **changes: str) -> list[str]:
    """The regions for a session, best first."""
    order = SessionSpec(prompt="An app", app_type=AppType.WEBAPP, region=changes.get("region"))
    placement = changes.get("placement", "Spread")
    tier = {"light": {"sizes": ["s-1vcpu-1gb"], "ttl": "2h"}}
    offer = an_offer(regions=REGIONS, placement=placement, tiers=tier)
    found = placements(a_session(uid=uid, spec=order), offer, load)
    return [one.region for one in found]


def test_in_order_whatever_runs_where():
    assert regions(placement="Ordered", load={"ams3": 9}) == REGIONS


def test_spread_begins_where_the_fewest_are():
    assert regions(load={"ams3": 2, "fra1": 0, "lon1": 1}) == ["fra1", "lon1", "ams3"]


def test_sessions_that_begin_at_once_do_not_all_choose_the_same():
    firsts = {regions(uid=f"session-{number}")[0] for number in range(30)}
    assert firsts == set(REGIONS)


def test_a_region_that_the_session_names_is_the_only_one():
    assert regions(region="sgp1", load={"sgp1": 99}) == ["sgp1"]


def test_a_class_that_spreads_orders_a_droplet_there():
    life = Life(offer=an_offer(regions=REGIONS, placement="Spread"))
    life.load = {"ams3": 1, "fra1": 1}
    assert life.settle().status.region == "lon1"
