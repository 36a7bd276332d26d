"""The Secret of an app lies where a user may write: only what this installation sealed is used."""

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
    SEAL_KEY,
    Bundles,
    bundle_name,
)
from spawnai.controller.actions.seal import Seal
from spawnai.controller.cluster import Conflict, ObjectNotFound
from spawnai.controller.failures import SessionFailed
from spawnai.controller.memory import WrittenApp
from spawnai.generation.bundle import AppFile, Bundle
from spawnai.generation.validation import MAX_BUNDLE_BYTES, MAX_FILE_BYTES

SESSION = a_session()
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

    async def get_secret(self, namespace: str, name: str) -> dict[str, bytes]:
        if (namespace, name) not in self.kept:
            raise ObjectNotFound(f"get secret {name}", "not found", 404)
        return self.kept[namespace, name]

    async def create_secret(self, namespace, name, data, *, labels, owner=None) -> None:
        if (namespace, name) in self.kept:
            raise Conflict(f"create secret {name}", "it exists already", 409)
        self.kept[namespace, name] = dict(data)


def bundles(secrets: Secrets, key: bytes = b"1" * 32) -> Bundles:
    return Bundles(secrets, Seal(key))


@pytest.fixture
async def stored() -> Secrets:
    secrets = Secrets()
    await bundles(secrets).store(SESSION, WrittenApp(APP, PAID))
    return secrets


def data_of(secrets: Secrets) -> dict[str, bytes]:
    return secrets.kept[SESSION.namespace, bundle_name(SESSION.uid)]


async def test_what_was_stored_is_found_by_another_process_of_the_installation(stored):
    found = await bundles(stored).find(SESSION)
    assert found is not None
    assert (found.digest, found.generation) == (APP.digest, PAID)
    assert await bundles(stored).document(SESSION) == APP.document()


async def test_nothing_stored_is_no_app():
    assert await bundles(Secrets()).find(SESSION) is None


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
    assert await bundles(secrets).document(SESSION) == app.document()


def cheaper(data: dict[str, bytes]) -> dict[str, bytes]:
    entry = json.loads(data[GENERATION_KEY]) | {"cost": "0"}
    return data | {GENERATION_KEY: json.dumps(entry).encode()}


def other_app(data: dict[str, bytes]) -> dict[str, bytes]:
    app = Bundle("webapp", "index.html", (AppFile("../../etc/cron.d/own", "* * *"),), {})
    return data | {BUNDLE_KEY: gzip.compress(json.dumps(app.document()).encode())}


def moved_byte(data: dict[str, bytes]) -> dict[str, bytes]:
    return data | {
        BUNDLE_KEY: data[BUNDLE_KEY] + data[GENERATION_KEY][:1],
        GENERATION_KEY: data[GENERATION_KEY][1:],
    }


def without_seal(data: dict[str, bytes]) -> dict[str, bytes]:
    return {key: value for key, value in data.items() if key != SEAL_KEY}


@pytest.mark.parametrize("forge", [cheaper, other_app, moved_byte, without_seal, lambda _: {}])
async def test_what_somebody_changed_is_neither_paid_by_nor_deployed(stored, forge):
    at = SESSION.namespace, bundle_name(SESSION.uid)
    stored.kept[at] = forged = forge(data_of(stored))
    for read in (bundles(stored).find, bundles(stored).document):
        with pytest.raises(SessionFailed, match=bundle_name(SESSION.uid)) as caught:
            await read(SESSION)
        assert caught.value.reason == "SecretNotOurs"
    assert stored.kept[at] is forged


async def test_the_app_of_another_session_does_not_pass_for_ones_own(stored):
    other = a_session(uid="99999999-2222-3333-4444-555555555555")
    stored.kept[other.namespace, bundle_name(other.uid)] = data_of(stored)
    with pytest.raises(SessionFailed):
        await bundles(stored).find(other)


async def test_another_installation_cannot_seal_for_this_one(stored):
    with pytest.raises(SessionFailed):
        await bundles(stored, key=b"2" * 32).find(SESSION)


async def test_what_is_there_already_is_used_and_not_written_over(stored):
    other = WrittenApp(APP, PAID.model_copy(update={"cost": "1"}))
    again = await bundles(stored).store(SESSION, other)
    assert again.generation == PAID
