"""Keys of an app: only what its owner offers, and never anywhere but on its droplet."""

import pytest
from tests.unit.controller.test_bundles import SESSION
from tests.unit.controller.test_repairs import World
from tests.unit.lifecycle.life import a_session

from spawnai.api.session import SessionSpec
from spawnai.controller.actions.app_env import AppEnvironments
from spawnai.controller.cluster import ClusterError, ClusterUnavailable, ObjectNotFound
from spawnai.controller.failures import NeedsPerson
from spawnai.generation.prompts import order_message, with_variables

VALUE = "sesame-for-tests"


def asking_for(*keys: tuple[str, str, str]):
    env = [{"name": n, "secretRef": {"name": s, "key": k}} for n, s, k in keys]
    return a_session(spec=SessionSpec(prompt="Weather", app_type="api", env=env))


ASKING = asking_for(("WEATHER_KEY", "weather", "openweather"))


class Offered:
    """The Secrets of a namespace, as the operator may read them."""

    def __init__(self, answer) -> None:
        self.answer = answer

    async def get_secret_of_type(self, namespace, name, type_):
        assert (namespace, name, type_) == ("team", "weather", "spawn-ai.com/app-env")
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


async def test_an_offered_key_becomes_a_variable_and_is_hidden_from_then_on():
    hidden = []
    offered = AppEnvironments(Offered({"openweather": VALUE.encode()}), hidden.append)
    assert await offered.of(ASKING) == {"WEATHER_KEY": VALUE}
    assert hidden == [VALUE]
    assert await AppEnvironments(Offered(None), hidden.append).of(SESSION) == {}


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ObjectNotFound("get secret", "not found", 404), "SecretMissing"),
        (ClusterError("get secret", "forbidden", 403), "SecretNotOffered"),
        (None, "SecretNotOffered"),
        ({}, "SecretKeyMissing"),
        ({"openweather": b"\xff"}, "SecretUnusable"),
    ],
)
async def test_what_is_missing_is_told_with_what_to_do(answer, reason):
    with pytest.raises(NeedsPerson) as told:
        await AppEnvironments(Offered(answer), lambda _: None).of(ASKING)
    assert told.value.reason == reason
    assert "team/weather" in str(told.value)


async def test_an_api_server_that_is_away_is_waited_for():
    away = AppEnvironments(Offered(ClusterUnavailable("get secret", "away")), lambda _: None)
    with pytest.raises(ClusterUnavailable):
        await away.of(ASKING)


async def test_nothing_is_paid_for_while_a_key_is_missing():
    world = World()
    world.generate._environments = AppEnvironments(Offered(None), lambda _: None)
    object.__setattr__(world.work, "known_session", ASKING)
    with pytest.raises(NeedsPerson):
        await world.try_it()
    assert world.claude.orders == []


def test_claude_is_told_the_names_alone():
    told = with_variables(order_message("Weather", "api"), "api", ["WEATHER_KEY"])
    assert "WEATHER_KEY" in told
    assert "process.env" in told
    plain = order_message("Weather", "api")
    assert with_variables(plain, "api", []) == plain
