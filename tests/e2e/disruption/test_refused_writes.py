"""Somebody's admission webhook refuses every write of the operator's: it keeps trying, calmly."""

import asyncio
import json
import time

from tests.e2e.disruption.calls import until_deletion_accepted
from tests.e2e.sessions.eventually import eventually
from tests.e2e.sessions.world import in_seconds, session

from spawnai_local.bench import audit

REFUSED_SECONDS = 8.0

MOST_TRIES = 16
"""Waits of 0.1, 0.2, 0.4 … 5 s fit eight times into these seconds; an action that ends meanwhile
wakes its session besides."""


def nobody_answers(*resources: str) -> dict:
    """A webhook for writes of our kinds at an address where nobody listens."""
    return {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingWebhookConfiguration",
        "metadata": {"name": "nobody-answers"},
        "webhooks": [
            {
                "name": "nobody.example.com",
                "admissionReviewVersions": ["v1"],
                "sideEffects": "None",
                "failurePolicy": "Fail",
                "clientConfig": {"url": "https://127.0.0.1:1/"},
                "rules": [
                    {
                        "apiGroups": ["spawn-ai.com"],
                        "apiVersions": ["*"],
                        "operations": ["*"],
                        "resources": list(resources),
                    }
                ],
            }
        ],
    }


async def test_refused_writes_are_tried_ever_more_rarely_and_the_session_ends_soon_after(
    disruption, world, operator, namespace
):
    def refused_since(since: float) -> list[audit.Write]:
        written = audit.read_writes(disruption.audit_log)
        return [write for write in written if write.at > since and "spawn" in write.what]

    [one] = await world.apply(namespace, session("refused"))
    await one.until_running()
    end = in_seconds(4)
    await one.annotate(expires_at=end)
    await one.until("knows its end", lambda one: one.status.get("expirationTime") == end, 5)
    lines = len(operator.log())
    await world.kubectl.apply(nobody_answers("spawnrecords/*", "spawnsessions/*"))
    try:
        await until_deletion_accepted(world, one, 20)
        since = time.time()
        await asyncio.sleep(REFUSED_SECONDS)
        await eventually("it tries again", lambda: len(refused_since(since)) >= 2)
    finally:
        await world.kubectl.run("delete", "validatingwebhookconfiguration", "nobody-answers")
    await one.until_destroyed(20)
    await one.assert_nothing_is_left()
    at_first = [write for write in refused_since(since) if write.at < since + REFUSED_SECONDS]
    assert len(at_first) <= MOST_TRIES, [write.what for write in at_first]
    told = [line for line in operator.log()[lines:] if one.uid in json.dumps(line)]
    complaints = [line for line in told if line.get("level", "").upper() in {"WARNING", "ERROR"}]
    assert len(complaints) <= MOST_TRIES
    assert not any("Traceback" in json.dumps(line) for line in told)
