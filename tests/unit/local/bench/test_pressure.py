"""How the figures of many sessions that end in one minute are read from the emulator's log."""

import pytest

from spawnai_local.bench.emulator import Call
from spawnai_local.bench.machine import Noise
from spawnai_local.bench.pressure import DELETE_DROPLET, ideal_seconds, storm_of, unused_shares

DELETE_RECORD = "DELETE /v2/domains/{domain_name}/records/{domain_record_id}"


def test_the_ideal_sends_a_minutes_calls_at_once_and_the_rest_as_the_minute_frees():
    assert ideal_seconds([0.0] * 250) == 0
    assert ideal_seconds([0.0] * 251) == 60
    assert ideal_seconds([0.0] * 2000) == 420


def test_the_ideal_sends_nothing_before_it_is_due():
    assert ideal_seconds([0.0, 90.0]) == 90
    assert ideal_seconds([second / 10 for second in range(500)]) == pytest.approx(84.9)


def test_what_was_sent_just_before_counts():
    assert ideal_seconds([0.0] * 250, before=[-10.0]) == 50


def test_the_unused_share_is_that_of_the_minute_before_each_second():
    moments = [float(n) / 5 for n in range(600)]
    shares = unused_shares(moments, 0.0, 120.0)
    assert len(shares) == 61
    assert shares[0] == pytest.approx(0, abs=0.01)
    assert max(unused_shares(moments[::2], 0.0, 119.0)) == pytest.approx(0.4, abs=0.01)


def call(number: int, endpoint: str, path: str, session: str, status: int) -> Call:
    at = 1000.0 + number
    return Call(number, endpoint, path, session, status, at, at + 0.5, 0.001)


def test_what_was_refused_sent_twice_or_lost_is_told():
    calls = [
        call(1, DELETE_RECORD, "/records/1", "a", 429),
        call(2, DELETE_RECORD, "/records/1", "a", 204),
        call(3, DELETE_DROPLET, "/droplets/1", "a", 204),
        call(4, DELETE_DROPLET, "/droplets/1", "a", 404),
        call(5, DELETE_RECORD, "/records/2", "b", 204),
        call(6, "POST /v2/droplets", "/v2/droplets", "new", 202),
    ]
    storm = storm_of(
        {"a": 1000.0, "b": 1000.0},
        calls,
        destroyed={"a": 1010.0, "b": 1020.0},
        orders={"new", "other"},
        said_so={"new"},
        noise=Noise(),
    )
    assert (storm.refused, storm.sent_twice, storm.lost) == (1, 1, 1)
    assert (storm.orders, storm.silent_orders, storm.early_orders) == (2, 1, 0)
    assert storm.accepted == (3.5,)
    assert storm.until_destroyed == (10.0, 20.0)
    assert storm.last_deletion == 5.0


def test_the_calls_that_came_between_the_deletions_are_told_by_minute():
    calls = [
        call(-5, "GET /v2/droplets", "/v2/droplets", "", 200),
        call(1, DELETE_DROPLET, "/droplets/1", "a", 204),
        call(9, "GET /v2/droplets", "/v2/droplets", "", 200),
        call(62, DELETE_RECORD, "/records/1", "a", 204),
        call(63, "GET /v2/droplets", "/v2/droplets", "", 200),
    ]
    storm = storm_of(
        {"a": 1000.0, "b": 1030.0},
        calls,
        destroyed={"a": 1070.0, "b": 1070.0},
        orders=set(),
        said_so=set(),
        noise=Noise(),
    )
    assert storm.others == {"0. GET /v2/droplets": 1, "1. GET /v2/droplets": 1}
    assert "0. GET /v2/droplets (1), 1. GET /v2/droplets (1)" in storm.figures()[0].remark
