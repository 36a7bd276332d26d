from datetime import UTC, datetime, timedelta

import pytest

from spawnai.acme.errors import AcmeLimited
from spawnai.acme.limits import (
    DOMAIN,
    IDENTIFIERS,
    ORDERS,
    PlacedOrder,
    check,
    of_account,
    registered_domain,
    remaining,
)

NOW = datetime(2026, 11, 29, 12, tzinfo=UTC)
ADDRESS = ("203.0.113.7",)


def orders(count: int, *identifiers: str, ago: timedelta = timedelta(), each=timedelta()):
    return [PlacedOrder(identifiers, NOW - ago - number * each) for number in range(count)]


def left(identifiers, history) -> dict[str, int]:
    return {one.limit.name: one.left for one in remaining(identifiers, history, NOW)}


def test_without_a_history_everything_is_left():
    assert left(ADDRESS, []) == {"orders": 300, "domain": 50, "identifiers": 5}


def test_five_certificates_for_an_address_in_a_week_and_the_next_after_34_hours():
    history = orders(5, *ADDRESS)
    with pytest.raises(
        AcmeLimited, match=r"5 certificates for 203\.0\.113\.7 in 7 days"
    ) as limited:
        check(ADDRESS, history, NOW)
    assert limited.value.limit == IDENTIFIERS.name
    assert limited.value.retry_at == NOW + timedelta(days=7) / 5
    check(ADDRESS, history, NOW + timedelta(days=7) / 5)


def test_one_second_before_its_time_an_order_is_refused():
    early = NOW + timedelta(days=7) / 5 - timedelta(seconds=1)
    with pytest.raises(AcmeLimited):
        check(ADDRESS, orders(5, *ADDRESS), early)


def test_another_address_has_limits_of_its_own():
    check(("203.0.113.8",), orders(5, *ADDRESS), NOW)


def test_fifty_names_of_a_domain_in_a_week_whatever_they_are_called():
    history = [PlacedOrder((f"app-{number}.apps.example.com",), NOW) for number in range(50)]
    with pytest.raises(AcmeLimited, match=r"50 certificates for example\.com") as limited:
        check(("new.apps.example.com",), history, NOW)
    assert limited.value.limit == DOMAIN.name
    check(("new.apps.example.org",), history, NOW)


def test_three_hundred_orders_of_an_account_in_three_hours():
    history = [
        PlacedOrder((f"203.0.{number // 250}.{number % 250}",), NOW) for number in range(300)
    ]
    with pytest.raises(AcmeLimited) as limited:
        check(("198.51.100.1",), history, NOW)
    assert limited.value.limit == ORDERS.name
    assert limited.value.retry_at == NOW + timedelta(seconds=36)


def test_what_is_older_than_its_time_counts_no_more():
    assert left(ADDRESS, orders(5, *ADDRESS, ago=timedelta(days=7)))["identifiers"] == 5


def test_a_bucket_refills_evenly():
    # Two at once, seven days / 5 = 33.6 h ago: one of them is back.
    assert left(ADDRESS, orders(2, *ADDRESS, ago=timedelta(days=7) / 5))["identifiers"] == 4


def test_the_limits_of_an_account_are_one_for_each_domain_and_wildcard_that_it_orders_for():
    history = [
        *orders(3, "*.apps.example.com"),
        *orders(7, "one.direct.example.com"),
        *orders(2, *ADDRESS),
    ]
    names = ["*.apps.example.com", "direct.example.com", "shop.example.org"]
    assert [(one.limit.name, one.about, one.left) for one in of_account(names, history, NOW)] == [
        ("orders", "this account", 288),
        ("domain", "example.com", 40),
        ("domain", "example.org", 50),
        ("identifiers", "*.apps.example.com", 2),
    ]


@pytest.mark.parametrize(
    ("name", "domain"),
    [
        ("a.apps.example.com", "example.com"),
        ("*.apps.example.com", "example.com"),
        ("a.example.co.uk", "example.co.uk"),
        ("203.0.113.7", "203.0.113.7"),
        ("2001:db8::1", "2001:db8::1"),
    ],
)
def test_names_are_counted_under_the_domain_that_was_registered(name, domain):
    assert registered_domain(name) == domain
