from spawnai.console.estimates import Estimate, estimate_of
from spawnai.console.models import Order

OFFER = {
    "maxTtlSeconds": 259200,
    "overhead": "0.05",
    "tiers": [{"tier": "light", "hourly": "0.00893", "ttlSeconds": 7200}],
    "appTypes": [{"appType": "webapp", "claudeCost": "0.086", "readySeconds": [60, 80]}],
}


def order(**fields):
    return Order(prompt="A clock", app_type="webapp", **fields)


def test_an_order_costs_its_server_its_tokens_and_the_overhead():
    # (0.00893 × (7200 + 75) / 3600 + 0.086) × 1.05
    assert estimate_of(order(), OFFER) == Estimate("0.109248", 70)


def test_a_life_beyond_the_classs_maximum_costs_no_more_than_the_maximum():
    offer = OFFER | {"maxTtlSeconds": 3600}
    assert estimate_of(order(ttl="1h"), offer) == estimate_of(order(ttl="3d"), offer)


def test_an_operator_that_is_away_gives_no_estimate():
    away = {"operator": "away", "tiers": [], "appTypes": []}
    assert estimate_of(order(), away) == Estimate(None, None)


def test_without_a_price_the_time_is_told_all_the_same():
    offer = OFFER | {"tiers": [{"tier": "light", "hourly": None, "ttlSeconds": 7200}]}
    assert estimate_of(order(), offer) == Estimate(None, 70)
