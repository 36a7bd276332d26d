"""Orders at a real ACME server, which refuses nonces and can be cut off at any step."""

import asyncio
import ssl
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from tests.contract.acme.conftest import MemoryStore

from spawnai.acme.certificate import check_pair, read_chain
from spawnai.acme.client import AcmeAccount
from spawnai.acme.errors import (
    AcmeLimited,
    AcmeRefused,
    AcmeUnavailable,
    ChallengeFailed,
    OrderExpired,
)
from spawnai.acme.issuer import Issuer
from spawnai.acme.order import SHORTLIVED, CertificateRequest
from spawnai.clock import SystemClock
from spawnai_local.acme.front import AUTHORIZATION, FINALIZE, NEW_ORDER
from spawnai_local.acme.rate_limits import AcmeLimits, Rule


def issuer_of(account: Any) -> Issuer:
    return Issuer(account, SystemClock())


async def test_an_address_gets_a_short_lived_certificate(server, account, files):
    request = CertificateRequest((files.address,), SHORTLIVED)
    kept = await issuer_of(account).obtain(request, MemoryStore(), files)
    info = check_pair(kept.chain_pem, kept.key_pem, [files.address], datetime.now(UTC))
    assert info.names == (files.address,)
    assert timedelta(hours=150) < info.life < timedelta(hours=170)
    assert files.shown == {}  # the proof was taken away
    root = ssl.create_default_context(cafile=str(server.root_path))
    assert root.cert_store_stats()["x509_ca"] == 1


async def test_a_name_gets_a_certificate(account, files, name):
    request = CertificateRequest((name,))
    kept = await issuer_of(account).obtain(request, MemoryStore(), files)
    assert read_chain(kept.chain_pem).names == (name,)
    assert read_chain(kept.chain_pem).life > timedelta(days=80)


async def test_many_are_obtained_side_by_side_though_nonces_are_refused(account, files):
    """Pebble refuses one nonce in twenty; each order takes some ten of them."""
    request = CertificateRequest((files.address,), SHORTLIVED)
    all_kept = await asyncio.gather(
        *(issuer_of(account).obtain(request, MemoryStore(), files) for _ in range(4))
    )
    assert len({kept.key_pem for kept in all_kept}) == 4


async def test_what_is_kept_is_not_ordered_again(server, account, files):
    request, store = CertificateRequest((files.address,), SHORTLIVED), MemoryStore()
    first = await issuer_of(account).obtain(request, store, files)
    calls = server.front.calls.total()
    assert await issuer_of(account).obtain(request, store, files) == first
    assert server.front.calls.total() == calls


class Killed(Exception):
    """The process ended here."""


@dataclass
class MortalProcess:
    """Ends before or after the nth of its steps, whoever takes it."""

    account: AcmeAccount
    store: MemoryStore
    ends_at: int
    ends_after_the_effect: bool
    steps: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        async def step(*arguments: Any) -> Any:
            self.steps.append(name)
            ends = len(self.steps) == self.ends_at
            if ends and not self.ends_after_the_effect:
                raise Killed
            target = self.store if name in ("load", "save") else self.account
            result = await getattr(target, name)(*arguments)
            if ends:
                raise Killed
            return result

        return step

    @property
    def lost_the_url(self) -> bool:
        """Whether it ended after the order was placed and before its URL was kept."""
        if self.ends_after_the_effect:
            return self.steps[-1] == "place"
        return self.steps[-2:] == ["place", "save"]


@pytest.mark.timeout(600)
async def test_a_process_killed_between_any_two_steps_leaves_what_the_next_one_finishes(
    server, account, files
):
    """At most one certificate is issued, and an order is placed twice only when the process ended
    between the placing and the keeping of the URL.
    """
    server.front.counters.limits = AcmeLimits(
        domain=Rule(10_000, 1.0, ""), identifiers=Rule(10_000, 1.0, "")
    )
    request = CertificateRequest((files.address,), SHORTLIVED)
    step, killed = 0, True
    while killed:
        step, killed = step + 1, False
        for after in (False, True):
            store = MemoryStore()
            orders, issued = server.front.placed, server.front.issued
            process = MortalProcess(account, store, step, after)
            try:
                await issuer_of(process).obtain(request, process, files)
            except Killed:
                killed = True
                kept = await issuer_of(account).obtain(request, store, files)
                assert kept.is_fulfilled
                placed = server.front.placed - orders
                assert placed == (2 if process.lost_the_url else 1), process.steps
                assert server.front.issued - issued == 1, process.steps
    assert step > 8


async def test_an_order_whose_answer_was_cut_off_is_not_issued_twice(server, account, files):
    server.front.faults.cut[NEW_ORDER] = 1
    request, store = CertificateRequest((files.address,), SHORTLIVED), MemoryStore()
    with pytest.raises(AcmeUnavailable, match="cannot be read"):
        await issuer_of(account).obtain(request, store, files)
    await issuer_of(account).obtain(request, store, files)
    assert server.front.issued == 1


async def test_a_finalization_whose_answer_was_cut_off_is_found_done(server, account, files):
    server.front.faults.cut[FINALIZE] = 1
    request, store = CertificateRequest((files.address,), SHORTLIVED), MemoryStore()
    await issuer_of(account).obtain(request, store, files)
    assert server.front.placed == 1
    assert server.front.issued == 1


async def test_a_server_that_is_away_changes_nothing(server, account, files):
    request, store = CertificateRequest((files.address,), SHORTLIVED), MemoryStore()
    server.front.faults.away[NEW_ORDER] = 1
    with pytest.raises(AcmeUnavailable, match="retry later"):
        await issuer_of(account).obtain(request, store, files)
    key = store.kept.key_pem
    server.front.faults.away[AUTHORIZATION] = 1
    with pytest.raises(AcmeUnavailable):
        await issuer_of(account).obtain(request, store, files)
    kept = await issuer_of(account).obtain(request, store, files)
    assert kept.key_pem == key
    assert server.front.placed == 1


async def test_a_server_that_died_says_so(server, account, files):
    await account.register()
    await server.kill()
    with pytest.raises(AcmeUnavailable):
        await account.place(CertificateRequest((files.address,), SHORTLIVED))


async def test_a_proof_that_is_not_found_voids_the_order_and_the_next_is_a_new_one(
    server, account, files
):
    request, store = CertificateRequest((files.address,), SHORTLIVED), MemoryStore()
    files.answers = False
    with pytest.raises(ChallengeFailed, match=r"did not find the proof.*404"):
        await issuer_of(account).obtain(request, store, files)
    assert store.kept.url is None
    files.answers = True
    kept = await issuer_of(account).obtain(request, store, files)
    assert kept.is_fulfilled


async def test_an_order_that_the_server_has_forgotten_is_placed_anew(server, account, files):
    request, store = CertificateRequest((files.address,), SHORTLIVED), MemoryStore()
    kept = await issuer_of(account).place(request, store)
    assert kept.url is not None
    store.kept = replace(kept, url=kept.url.rpartition("/")[0] + "/NoSuchOrder")
    with pytest.raises(OrderExpired):
        await issuer_of(account).obtain(request, store, files)
    assert (await issuer_of(account).obtain(request, store, files)).is_fulfilled


async def test_a_name_that_no_server_certifies_is_refused_for_good(account, files):
    with pytest.raises((AcmeRefused, AcmeUnavailable)):
        await account.place(CertificateRequest(("no_such_name.example",)))


async def test_an_account_is_found_again_by_its_key(server, account, account_key):
    url = await account.register()
    again = AcmeAccount(
        server.directory_url, account_key, SystemClock(), ca_file=str(server.ca_path)
    )
    assert await again.register() == url
    await again.close()


async def test_a_certificate_is_revoked_and_a_second_time_is_no_error(account, files):
    request = CertificateRequest((files.address,), SHORTLIVED)
    kept = await issuer_of(account).obtain(request, MemoryStore(), files)
    await account.revoke(kept.chain_pem)
    await account.revoke(kept.chain_pem)


async def test_the_server_says_when_to_renew(account, files):
    request = CertificateRequest((files.address,), SHORTLIVED)
    kept = await issuer_of(account).obtain(request, MemoryStore(), files)
    at = await account.renewal_time(kept.chain_pem)
    leaf = x509.load_pem_x509_certificates(kept.chain_pem)[0]
    assert leaf.not_valid_before_utc < at < leaf.not_valid_after_utc


class TestLimits:
    @pytest.fixture
    def limits(self) -> AcmeLimits:
        return AcmeLimits(
            identifiers=Rule(
                1, 3600.0, "too many certificates ({most}) already issued for this exact set"
            )
        )

    async def test_a_limit_of_the_server_says_when_to_come_again(
        self, account, files, clock_of_limits
    ):
        request = CertificateRequest((files.address,), SHORTLIVED)
        await issuer_of(account).obtain(request, MemoryStore(), files)
        with pytest.raises(AcmeLimited, match="too many certificates") as limited:
            await issuer_of(account).obtain(request, MemoryStore(), files)
        wait = limited.value.retry_at - datetime.now(UTC)
        assert timedelta(minutes=55) < wait <= timedelta(hours=1)
        clock_of_limits.by = 3601.0
        await issuer_of(account).obtain(request, MemoryStore(), files)
