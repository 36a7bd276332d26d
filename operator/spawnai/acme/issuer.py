"""Takes an order from its key to its certificate, and can be killed between any two steps.

    key kept ─► order placed ─► URL kept ─► proofs shown and answered ─► finalized ─► chain kept

What is kept is looked at first: a process that takes over fetches what was ordered, and never
orders it again. Only an order that the server has given up is replaced, under the same key.
"""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Protocol

from spawnai.clock import Clock

from .client import AuthorizationView, OrderView
from .errors import AcmeError, AcmeRefused, AcmeUnavailable, ChallengeFailed, OrderExpired
from .order import (
    CertificateRequest,
    Challenge,
    ChallengeType,
    KeptOrder,
    OrderStore,
    Prover,
    new_key,
)

POLL_SECONDS = 0.25
"""Between two looks at an order; the first follow at once, the later ones wait longer."""

LONGEST_POLL_SECONDS = 3.0

ISSUE_SECONDS = 120.0
"""How long the server may take over proofs and issuing. Let's Encrypt takes two to ten seconds."""


class Account(Protocol):
    """The steps of an order, as `AcmeAccount` takes them."""

    async def place(self, request: CertificateRequest) -> str:
        """Place an order; returns its URL."""
        ...

    async def order(self, url: str) -> OrderView:
        """Look at an order."""
        ...

    async def authorization(self, url: str, wanted: ChallengeType) -> AuthorizationView:
        """Look at one name or address of an order."""
        ...

    async def answer(self, challenge_url: str, challenge: Challenge) -> None:
        """Have the server look for the proof."""
        ...

    async def finalize(self, finalize_url: str, request: CertificateRequest, key: bytes) -> None:
        """Have the certificate issued."""
        ...

    async def chain(self, certificate_url: str) -> bytes:
        """The certificate and its chain."""
        ...


class Issuer:
    """Obtains certificates from one account.

    `before_order` is called right before an order is placed, and may raise AcmeLimited.
    """

    def __init__(
        self,
        account: Account,
        clock: Clock,
        *,
        before_order: Callable[[CertificateRequest], Awaitable[None]] | None = None,
    ) -> None:
        self._account = account
        self._clock = clock
        self._before_order = before_order

    async def place(self, request: CertificateRequest, store: OrderStore) -> KeptOrder:
        """The kept order, placed if it was not; it takes no droplet and no name to do so.

        Raises:
            AcmeError: it was not placed, or nobody knows.
            ValueError: what is kept is an order for somebody else.
        """
        kept = await store.load()
        if kept is None:
            kept = KeptOrder(request, new_key())
            await store.save(kept)
        if kept.request != request:
            raise ValueError(
                f"expected the kept order to be for {', '.join(request.identifiers)}, found one "
                f"for {', '.join(kept.request.identifiers)}"
            )
        if kept.url is None and not kept.is_fulfilled:
            if self._before_order is not None:
                await self._before_order(request)
            kept = replace(kept, url=await self._account.place(request))
            await store.save(kept)
        return kept

    async def obtain(
        self, request: CertificateRequest, store: OrderStore, prover: Prover
    ) -> KeptOrder:
        """The certificate, as far as it takes: fetched, finished or ordered.

        Raises:
            AcmeError: it could not be had now; the next call goes on from what is kept. An order
                that the server has given up is not kept any longer.
        """
        kept = await self.place(request, store)
        if kept.is_fulfilled:
            return kept
        try:
            async with asyncio.timeout(ISSUE_SECONDS):
                chain = await self._fulfil(kept, prover)
        except TimeoutError as error:
            raise AcmeUnavailable(
                f"the ACME server did not issue the certificate for "
                f"{', '.join(request.identifiers)} within {ISSUE_SECONDS:.0f} s; the order goes on"
            ) from error
        except (OrderExpired, ChallengeFailed, AcmeRefused):
            await store.save(replace(kept, url=None))
            raise
        kept = replace(kept, chain_pem=chain)
        await store.save(kept)
        return kept

    async def _fulfil(self, kept: KeptOrder, prover: Prover) -> bytes:
        if kept.url is None:
            raise OrderExpired("the order was never placed")
        shown: dict[str, Challenge] = {}
        pause = 0.0
        while True:
            order = await self._account.order(kept.url)
            if order.status == "valid" and order.certificate_url is not None:
                chain = await self._account.chain(order.certificate_url)
                await self._withdraw(order, prover, shown)
                return chain
            if order.status == "invalid":
                why = await self._why_invalid(order, prover)
                await self._withdraw(order, prover, shown)
                raise why
            if order.status == "pending":
                await self._prove(order, prover, shown)
            elif order.status == "ready":
                await self._finalize(order, kept)
            pause = min(pause + POLL_SECONDS, LONGEST_POLL_SECONDS)
            await self._clock.sleep(pause)

    async def _withdraw(
        self, order: OrderView, prover: Prover, shown: dict[str, Challenge]
    ) -> None:
        """Take the proofs away, also those that an earlier process showed. Not before the order is
        settled: the server may be about to look.
        """
        for url in order.authorizations:
            challenge = shown.get(url)
            if challenge is None and prover.outlives_process:
                challenge = (
                    await self._account.authorization(url, prover.challenge_type)
                ).challenge
            if challenge is not None:
                await prover.withdraw(challenge)

    async def _prove(self, order: OrderView, prover: Prover, shown: dict[str, Challenge]) -> None:
        for url in order.authorizations:
            if url in shown:
                continue
            view = await self._account.authorization(url, prover.challenge_type)
            if view.status != "pending":
                continue
            if view.challenge is None or view.challenge_url is None:
                raise AcmeRefused(
                    f"the ACME server offers no {prover.challenge_type} challenge",
                    reason="NoChallenge",
                )
            shown[url] = view.challenge
            await prover.publish(view.challenge)
            if not view.is_answered:
                await self._account.answer(view.challenge_url, view.challenge)

    async def _finalize(self, order: OrderView, kept: KeptOrder) -> None:
        try:
            await self._account.finalize(order.finalize_url, kept.request, kept.key_pem)
        except AcmeUnavailable:
            # It may have been done, now or by a process before this one: the next look tells.
            return

    async def _why_invalid(self, order: OrderView, prover: Prover) -> AcmeError:
        if order.error is not None:
            return order.error
        for url in order.authorizations:
            view = await self._account.authorization(url, prover.challenge_type)
            if view.error is not None:
                return view.error
        return ChallengeFailed("the ACME server gave the order up without a reason")
