"""The installation's key can be replaced while sessions run: each session keeps the one it has."""

from datetime import UTC, datetime, timedelta

import pytest
from tests.unit.controller.test_bundles import Secrets
from tests.unit.lifecycle.life import a_session

from spawnai.controller.actions.agents import Agents
from spawnai.controller.cluster import ClusterError
from spawnai.controller.installation_key import (
    SECRET_NAME,
    InstallationKeys,
    installation_keys,
    read_keys,
)

NAMESPACE = "spawnai-system"
OLD, NEW = b"o" * 32, b"n" * 32
ROTATED_AT = datetime(2026, 12, 1, tzinfo=UTC)
ROTATED = {"key": OLD, "key-20261201T000000Z": NEW}


async def test_the_first_start_makes_a_key_and_the_next_one_finds_it():
    secrets = Secrets()
    first = await installation_keys(secrets, NAMESPACE)
    again = await installation_keys(secrets, NAMESPACE)
    assert first == again
    assert len(first.at(ROTATED_AT)) == 32
    assert list(secrets.kept) == [(NAMESPACE, SECRET_NAME)]


def test_running_sessions_keep_their_credentials_and_new_ones_get_others():
    before, after = Agents(OLD), Agents(read_keys(ROTATED, "here"))
    running = a_session(created_at=ROTATED_AT - timedelta(seconds=1))
    assert after.credentials(running) == before.credentials(running)
    assert after.gateway_certificate(running) == before.gateway_certificate(running)
    fresh = a_session(created_at=ROTATED_AT)
    assert after.credentials(fresh) == Agents(NEW).credentials(fresh)
    assert after.credentials(fresh) != before.credentials(fresh)


def test_once_all_old_sessions_have_ended_the_old_key_can_go():
    keys = read_keys({"key-20261201T000000Z": NEW}, "here")
    assert keys.at(ROTATED_AT + timedelta(days=1)) == NEW
    assert keys.at(ROTATED_AT - timedelta(days=1)) == NEW


@pytest.mark.parametrize(
    ("data", "words"),
    [
        ({}, "it holds no key"),
        ({"key": b"short"}, "must hold 32 bytes and holds 5"),
        ({"key": OLD, "key-soon": NEW}, "'key-soon' is no name of a key"),
        ({"key": OLD, "key-20261301T000000Z": NEW}, "is no name of a key"),
    ],
)
def test_what_is_no_key_is_refused_with_what_to_write(data, words):
    with pytest.raises(ClusterError, match=words):
        read_keys(data, "secret here")


def test_no_key_is_ever_shown():
    assert "ooo" not in repr(InstallationKeys.only(OLD))
