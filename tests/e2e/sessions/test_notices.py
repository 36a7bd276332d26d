"""The class names channels: people hear what happens to its sessions, each news once."""

import os
import signal

from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import session

from spawnai_local.observe.sinks import Answer, Sinks

EVENTS = ["Ready", "Ended"]


async def test_people_hear_of_a_life_once_although_the_operator_is_killed_in_it(world, namespace):
    async with Sinks() as sinks:
        await world.apply_secret("chat", url=sinks.url("webhook"), signing_key="a key of ours")
        await world.apply_secret("dead", url="http://127.0.0.1:9/nobody-listens")
        await world.apply_class(
            "with-notices",
            notices=[
                {"type": "Webhook", "secretRef": {"name": "chat"}, "events": EVENTS},
                {"type": "Slack", "secretRef": {"name": "dead"}},
            ],
        )
        sinks.next_answers = [Answer(503)]
        manifest = session("told", ttl="5m", class_name="with-notices")
        (one,) = await world.apply(namespace, manifest)
        await one.until_running()
        ready = await sinks.until("webhook", '"Ready"', 30)
        assert ready.body["session"] == {"uid": one.uid, "namespace": namespace, "name": "told"}
        assert ready.body["url"] == one.status["url"]
        assert ready.headers["X-SpawnAI-Signature"].startswith("t=")

        killed = world.stack.operator.pid
        os.kill(killed, signal.SIGKILL)
        await eventually(
            "another operator works",
            lambda: world.stack.operator.pid,
            lambda pid: pid not in (None, killed),
            30,
        )
        await one.annotate(expires_at="now")
        await one.until_destroyed()
        ended = await sinks.until("webhook", '"Ended"', 30)
        assert "USD" in ended.body["message"]
        told = [message.body["event"] for message in sinks.of("webhook")]
        assert told == EVENTS, "a dead channel beside it costs nothing, a restart repeats nothing"
