"""An app is kept in the operator's namespace, owned by its ledger, and read back as it was."""

import gzip
import json
import random
from datetime import UTC, datetime

import pytest
from tests.unit.lifecycle.life import a_session

from spawnai.api.record import GenerationEntry
from spawnai.controller.actions.bundles import (
    BUNDLE_KEY,
    GENERATION_KEY,
    Bundles,
    bundle_name,
)
from spawnai.controller.cluster import Conflict, ObjectNotFound
from spawnai.controller.failures import SessionFailed
from spawnai.controller.memory import WrittenApp
from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.limits import MAX_BUNDLE_BYTES, MAX_FILE_BYTES

SESSION = a_session()
NAMESPACE = "spawnai-system"
LEDGER_UID = "5d1f0c52-0d3c-4b5e-9a52-0c2f6b1f6a55"
SECRET_BYTES = 1024 * 1024
"""What a Secret's values may have together (`MaxSecretSize` of the Kubernetes API)."""

APP = Bundle("webapp", "index.html", (AppFile("index.html", "<h1>Retro</h1>"),), {})
PAID = GenerationEntry(
    model="claude-sonnet-5-5",
    started_at=datetime(2026, 11, 23, tzinfo=UTC),
    outcome="Stored",
    output_tokens=4000,
    cost="0.04",
)


class Secrets:
    """The Secrets of a cluster."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], dict[str, bytes]] = {}
        self.owners: dict[tuple[str, str], dict[str, str] | None] = {}

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        if (namespace, name) not in self.kept:
            raise ObjectNotFound(f"get secret {name}", "not found", 404)
        return self.kept[namespace, name]

    async def create_secret(self, namespace, name, data, *, labels, owner=None) -> None:
        if (namespace, name) in self.kept:
            raise Conflict(f"create secret {name}", "it exists already", 409)
        self.kept[namespace, name] = dict(data)
        self.owners[namespace, name] = owner


def bundles(secrets: Secrets) -> Bundles:
    return Bundles(secrets, NAMESPACE, {SESSION.uid: LEDGER_UID}.get)


@pytest.fixture
async def stored() -> Secrets:
    secrets = Secrets()
    await bundles(secrets).store(SESSION, WrittenApp(APP, PAID))
    return secrets


def data_of(secrets: Secrets) -> dict[str, bytes]:
    return secrets.kept[NAMESPACE, bundle_name(SESSION.uid)]


async def test_what_was_stored_is_found_by_another_process_of_the_installation(stored):
    found = await bundles(stored).find(SESSION)
    assert found is not None
    assert (found.digest, found.generation) == (APP.digest, PAID)
    assert (await bundles(stored).latest(SESSION)).document() == APP.document()


async def test_what_is_stored_is_never_replaced_by_an_app_for_another_prompt():
    kept = bundles(Secrets())
    for prompt in ("a board", "a chat"):
        await kept.store(SESSION, WrittenApp(APP, PAID, prompt), 1)
    again = await kept.store(SESSION, WrittenApp(APP, PAID, "a chat"), 2)
    assert [version.prompt for version in await kept.versions(SESSION)] == ["a board", "a chat"]
    assert again.number == 2


async def test_nothing_stored_is_no_app():
    assert await bundles(Secrets()).find(SESSION) is None


async def test_an_app_that_another_droplet_needs_and_nobody_has_is_told_with_its_place(stored):
    """As after an upgrade from a build that kept it elsewhere."""
    with pytest.raises(
        SessionFailed, match=f"{NAMESPACE}/{bundle_name(SESSION.uid)} is gone"
    ) as it:
        await bundles(Secrets()).stored(SESSION, 1)
    assert it.value.reason == "StoredAppMissing"
    assert (await bundles(stored).stored(SESSION, 7)).number == 1, "another version will do"


PRINTABLE = "".join(map(chr, range(32, 127)))
"""With quotes and backslashes, which JSON doubles."""


@pytest.mark.parametrize(
    "alphabet", [PRINTABLE, '"', "\x01", "".join(map(chr, range(0x4E00, 0x9FFF)))]
)
async def test_the_largest_app_that_is_accepted_fits_in_a_secret(alphabet):
    letters = random.Random(1)
    count = MAX_FILE_BYTES // len(alphabet[0].encode())
    files = [
        AppFile(f"{number}.txt", "".join(letters.choices(alphabet, k=count)))
        for number in range(MAX_BUNDLE_BYTES // MAX_FILE_BYTES)
    ]
    app = Bundle("webapp", "index.html", tuple(files), {})
    secrets = Secrets()
    await bundles(secrets).store(SESSION, WrittenApp(app, PAID))
    assert sum(map(len, data_of(secrets).values())) <= SECRET_BYTES
    assert (await bundles(secrets).latest(SESSION)).document() == app.document()


async def test_it_lies_in_the_operators_namespace_and_goes_with_its_ledger(stored):
    at = NAMESPACE, bundle_name(SESSION.uid)
    assert list(stored.kept) == [at]
    assert stored.owners[at] == {
        "apiVersion": "spawn-ai.com/v1alpha1",
        "kind": "SpawnRecord",
        "name": SESSION.uid,
        "uid": LEDGER_UID,
    }


def other_app(data: dict[str, bytes]) -> dict[str, bytes]:
    document = json.loads(gzip.decompress(data[BUNDLE_KEY])) | {"entrypoint": "other.html"}
    return data | {BUNDLE_KEY: gzip.compress(json.dumps(document).encode())}


def no_gzip(data: dict[str, bytes]) -> dict[str, bytes]:
    return data | {BUNDLE_KEY: b"not compressed"}


def cut_short(data: dict[str, bytes]) -> dict[str, bytes]:
    return data | {BUNDLE_KEY: data[BUNDLE_KEY][:-12]}


def no_price(data: dict[str, bytes]) -> dict[str, bytes]:
    return data | {GENERATION_KEY: b"{}"}


def deep(data: dict[str, bytes]) -> dict[str, bytes]:
    return data | {BUNDLE_KEY: gzip.compress(b"[" * 200_000)}


@pytest.mark.parametrize("spoil", [other_app, no_gzip, cut_short, no_price, deep, lambda _: {}])
async def test_what_somebody_spoiled_is_not_deployed_and_the_session_says_where_it_lies(
    stored, spoil
):
    at = NAMESPACE, bundle_name(SESSION.uid)
    stored.kept[at] = spoiled = spoil(data_of(stored))
    for read in (bundles(stored).find, bundles(stored).latest):
        with pytest.raises(SessionFailed, match=bundle_name(SESSION.uid)) as caught:
            await read(SESSION)
        assert caught.value.reason == "StoredAppUnreadable"
    assert stored.kept[at] is spoiled


async def test_a_secret_of_that_name_in_the_sessions_own_namespace_means_nothing(stored):
    """Whoever may write Secrets beside a session cannot hand an app to its droplet."""
    secrets = Secrets()
    secrets.kept[SESSION.namespace, bundle_name(SESSION.uid)] = data_of(stored)
    assert await bundles(secrets).find(SESSION) is None


async def test_what_is_there_already_is_used_and_not_written_over(stored):
    other = WrittenApp(APP, PAID.model_copy(update={"cost": "1"}))
    again = await bundles(stored).store(SESSION, other)
    assert again.generation == PAID
