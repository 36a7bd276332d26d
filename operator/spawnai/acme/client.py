"""One ACME account, a step of an order at a time: the `acme` package in threads, with time limits.

Every step may be repeated. One that ran out of time may go on in its thread until its connection's
own limit ends it; its effect is found by the next look at the order.
"""

import asyncio
import ipaddress
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from http import HTTPStatus
from pathlib import Path
from typing import Any, TypeVar

import requests
from acme import challenges, client, crypto_util, messages
from acme import errors as acme_errors
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.errors import Error as JoseError
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from spawnai.clock import Clock

from .errors import (
    AccountRefused,
    AcmeError,
    AcmeLimited,
    AcmeRefused,
    AcmeUnavailable,
    ChallengeFailed,
    OrderExpired,
)
from .order import CertificateRequest, Challenge, ChallengeType, is_address

CONNECTION_SECONDS = 10
"""How long the server may be silent within one call. Let's Encrypt answers within two seconds."""

STEP_SECONDS = 30.0
"""How long one step may take: at most three calls, among them a nonce."""

NONCE_RETRIES = 5
"""How often a call is sent again because of its nonce. Pebble refuses one in twenty on purpose."""

UNKNOWN_WAIT = timedelta(hours=1)
"""How long a limit holds whose end the server does not tell."""

_LOOK_AT_ORDER = "look at an order"
_THREADS = 8
_USER_AGENT = "spawnai-operator"

_REFUSALS = {
    "caa": "CAAForbids",
    "rejectedIdentifier": "IdentifierRejected",
    "unsupportedIdentifier": "IdentifierUnsupported",
    "invalidProfile": "ProfileUnknown",
    "badCSR": "CSRRejected",
    "dnssec": "DNSSECBroken",
}
_CHALLENGE_FAILURES = frozenset({"connection", "dns", "incorrectResponse", "tls", "unauthorized"})
_ACCOUNT_FAILURES = frozenset(
    {"accountDoesNotExist", "externalAccountRequired", "userActionRequired", "badPublicKey"}
)

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class OrderView:
    """An order as the server shows it: pending, ready, processing, valid or invalid."""

    status: str
    authorizations: tuple[str, ...]
    finalize_url: str
    certificate_url: str | None
    error: AcmeError | None


@dataclass(frozen=True, slots=True)
class AuthorizationView:
    """One name or address of an order: pending until its challenge was answered and looked at."""

    status: str
    challenge: Challenge | None
    """The challenge of the type that was asked for; None: the server offers none such."""
    challenge_url: str | None
    is_answered: bool
    error: AcmeError | None


class _Client(client.ClientV2):
    """`ClientV2` by steps: each can be taken up again by a process that knows the URL alone."""

    def place(self, order: messages.NewOrder) -> tuple[str, messages.Order]:
        response = self._post(self.directory["newOrder"], order)
        return response.headers["Location"], messages.Order.from_json(response.json())

    def order(self, url: str) -> messages.Order:
        body: messages.Order = messages.Order.from_json(self._post_as_get(url).json())
        return body

    def authorization(self, url: str) -> messages.Authorization:
        body: messages.Authorization = messages.Authorization.from_json(
            self._post_as_get(url).json()
        )
        return body

    def answer(self, url: str, response: challenges.KeyAuthorizationChallengeResponse) -> None:
        self._post(url, response)

    def finalize(self, url: str, csr_pem: bytes) -> None:
        self._post(url, messages.CertificateRequest(csr=x509.load_pem_x509_csr(csr_pem)))

    def chain(self, url: str) -> bytes:
        return self._post_as_get(url).content


class AcmeAccount:
    """One account at one server. Close it. Every call may raise any AcmeError.

    Args:
        directory_url: the server's directory.
        key_pem: the account's private key (P-256, PEM), which is kept before it is used.
        clock: dates what the server does not date.
        ca_file: a PEM file with the roots that the server's own certificate is checked by; None:
            the system's.
    """

    def __init__(
        self, directory_url: str, key_pem: bytes, clock: Clock, *, ca_file: Path | str | None = None
    ) -> None:
        key = serialization.load_pem_private_key(key_pem, password=None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise TypeError(f"expected an account key on a curve, got {type(key).__name__}")
        self.directory_url = directory_url
        self._key = JWKEC(key=key)
        self._clock = clock
        self._ca_file = ca_file
        self._executor = ThreadPoolExecutor(_THREADS, thread_name_prefix="acme")
        self._own = threading.local()
        self._clients: list[_Client] = []
        self._registered: messages.RegistrationResource | None = None
        self._registering = asyncio.Lock()

    async def close(self) -> None:
        """Close its connections and let the threads go; nobody waits for what they still do."""
        self._executor.shutdown(wait=False, cancel_futures=True)
        for acme in self._clients:
            acme.net.session.close()

    async def register(self) -> str:
        """Make the account, or find the one that has its key; returns its URL."""
        async with self._registering:
            if self._registered is None:
                self._registered = await self._step("make the account", self._register)
            uri: str = self._registered.uri
            return uri

    async def caa_identities(self) -> tuple[str, ...]:
        """The names by which CAA records allow the server; none when it does not say."""
        return await self._step(
            "read the directory", lambda acme: tuple(acme.directory.meta.caa_identities or ())
        )

    async def place(self, request: CertificateRequest) -> str:
        """Place an order; returns its URL. An answer that was lost costs an order, never a
        certificate: what nobody finalizes is not issued.
        """
        await self.register()
        identifiers = [
            messages.Identifier(
                typ=messages.IDENTIFIER_IP if is_address(name) else messages.IDENTIFIER_FQDN,
                value=name,
            )
            for name in request.identifiers
        ]
        new = messages.NewOrder(identifiers=identifiers, profile=request.profile)
        url, _ = await self._step("place an order", lambda acme: acme.place(new))
        return url

    async def order(self, url: str) -> OrderView:
        """Look at an order."""
        await self.register()
        body = await self._step(_LOOK_AT_ORDER, lambda acme: acme.order(url))
        return OrderView(
            status=_status(body.status),
            authorizations=tuple(body.authorizations or ()),
            finalize_url=body.finalize,
            certificate_url=body.certificate,
            error=self._problem(body.error) if body.error is not None else None,
        )

    async def authorization(self, url: str, wanted: ChallengeType) -> AuthorizationView:
        """Look at one name or address of an order."""
        await self.register()
        body = await self._step("look at an authorization", lambda acme: acme.authorization(url))
        error = next((one.error for one in body.challenges if one.error is not None), None)
        problem = self._problem(error) if error is not None else None
        offered = next((one for one in body.challenges if one.chall.typ == wanted), None)
        if offered is None:
            return AuthorizationView(_status(body.status), None, None, False, problem)  # noqa: FBT003
        chall = offered.chall
        name = body.identifier.value
        challenge = Challenge(
            type=wanted,
            identifier=name,
            token=chall.encode("token"),
            proof=chall.key_authorization(self._key),
            record=f"_acme-challenge.{name}",
            value=challenges.DNS01(token=chall.token).validation(self._key),
        )
        return AuthorizationView(
            status=_status(body.status),
            challenge=challenge,
            challenge_url=offered.uri,
            is_answered=_status(offered.status) != "pending",
            error=problem,
        )

    async def answer(self, challenge_url: str, challenge: Challenge) -> None:
        """Have the server look for the proof."""
        response: challenges.KeyAuthorizationChallengeResponse
        if challenge.type is ChallengeType.HTTP_01:
            response = challenges.HTTP01Response(key_authorization=challenge.proof)
        else:
            response = challenges.DNS01Response(key_authorization=challenge.proof)
        await self._step("answer a challenge", lambda acme: acme.answer(challenge_url, response))

    async def finalize(self, finalize_url: str, request: CertificateRequest, key: bytes) -> None:
        """Have the certificate issued for a key. A second time the server says no: look then."""
        names = [name for name in request.identifiers if not is_address(name)]
        addresses = [ipaddress.ip_address(name) for name in request.identifiers if is_address(name)]
        csr = crypto_util.make_csr(key, names, ipaddrs=addresses)
        await self._step("finalize an order", lambda acme: acme.finalize(finalize_url, csr))

    async def chain(self, certificate_url: str) -> bytes:
        """The certificate and its chain, PEM."""
        return await self._step("fetch a certificate", lambda acme: acme.chain(certificate_url))

    async def revoke(self, chain_pem: bytes, *, reason: int = 5) -> None:
        """Revoke a certificate; one that was revoked before is no error.

        `reason`: RFC 5280, section 5.3.1; 5 is cessationOfOperation.
        """
        await self.register()
        leaf = x509.load_pem_x509_certificates(chain_pem)[0]
        await self._step("revoke a certificate", lambda acme: _revoke(acme, leaf, reason))

    async def renewal_time(self, chain_pem: bytes) -> datetime | None:
        """When the server wants the certificate renewed (ARI); None: it does not say."""
        leaf = x509.load_pem_x509_certificates(chain_pem)[0].public_bytes(
            serialization.Encoding.PEM
        )
        at, _ = await self._step("ask for the time to renew", lambda a: a.renewal_time(leaf))
        if at is None:
            return None
        return at if at.tzinfo is not None else at.astimezone(UTC)

    # One step, in a thread.

    async def _step(self, doing: str, call: Callable[[_Client], _Result]) -> _Result:
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(STEP_SECONDS):
                return await loop.run_in_executor(self._executor, self._repeated, call)
        except messages.Error as error:
            raise self._problem(error, doing) from error
        except (TimeoutError, requests.RequestException, acme_errors.NonceError) as error:
            raise AcmeUnavailable(
                f"the ACME server {self.directory_url} gave no answer ({type(error).__name__}) "
                f"to the call to {doing}; it is tried again"
            ) from error
        except (acme_errors.Error, JoseError, ValueError, KeyError, TypeError) as error:
            if _answered(error) == HTTPStatus.NOT_FOUND and doing == _LOOK_AT_ORDER:
                raise OrderExpired("the ACME server does not know the order any more") from error
            raise AcmeUnavailable(
                f"the ACME server {self.directory_url} gave an answer that cannot be read "
                f"({type(error).__name__}) to the call to {doing}; it is tried again"
            ) from error

    def _repeated(self, call: Callable[[_Client], _Result]) -> _Result:
        for _ in range(NONCE_RETRIES):
            try:
                return call(self._client())
            except messages.Error as error:
                if error.code != "badNonce":
                    raise
            except acme_errors.NonceError:
                pass
        return call(self._client())

    def _client(self) -> _Client:
        """This thread's own client: connections and nonces are not shared between threads."""
        made: _Client | None = getattr(self._own, "client", None)
        if made is None:
            net = client.ClientNetwork(
                self._key, alg=ES256, user_agent=_USER_AGENT, timeout=CONNECTION_SECONDS
            )
            # A proxy of the environment is obeyed, as with every HTTP client; the roots are ours.
            net.verify_ssl = str(self._ca_file) if self._ca_file else True  # type: ignore[assignment]
            made = self._own.client = _Client(_Client.get_directory(self.directory_url, net), net)
            self._clients.append(made)
        made.net.account = self._registered
        return made

    def _register(self, acme: _Client) -> messages.RegistrationResource:
        new = messages.NewRegistration.from_data(terms_of_service_agreed=True)
        try:
            return acme.new_account(new)
        except acme_errors.ConflictError as known:
            return messages.RegistrationResource(body=messages.Registration(), uri=known.location)

    def _problem(self, error: messages.Error, doing: str | None = None) -> AcmeError:
        """The server's "no" as one of our errors, in its own words."""
        code = error.code or ""
        detail = error.detail or error.title or "no reason given"
        for inner in error.subproblems or ():
            detail += f"; {inner.detail or inner.title or inner.typ}"
        if code == "rateLimited":
            now = self._clock.utc_now()
            return AcmeLimited(
                f"the ACME server says: {detail}",
                retry_at=_time_in(detail) or now + UNKNOWN_WAIT,
                limit="server",
            )
        if code in _REFUSALS:
            return AcmeRefused(f"the ACME server says: {detail}", reason=_REFUSALS[code])
        if code in _ACCOUNT_FAILURES:
            return AccountRefused(f"the ACME server does not serve this account: {detail}")
        if code in _CHALLENGE_FAILURES and doing is None:
            return ChallengeFailed(f"the ACME server did not find the proof: {detail}")
        if code == "malformed" and "expired" in detail.lower():
            return OrderExpired(f"the order does not exist any more: {detail}")
        if "not found" in detail.lower() or "no order" in detail.lower():
            return OrderExpired(f"the order does not exist any more: {detail}")
        if doing is None:
            return ChallengeFailed(f"the ACME server says: {detail}")
        return AcmeUnavailable(f"the ACME server refused to {doing} ({code}): {detail}")


def _answered(error: Exception) -> int | None:
    """The HTTP status of an answer that was no ACME document; None: the error is another."""
    response = error.args[0] if error.args else None
    return response.status_code if isinstance(response, requests.Response) else None


def _revoke(acme: _Client, leaf: x509.Certificate, reason: int) -> None:
    try:
        acme.revoke(leaf, reason)
    except messages.Error as error:
        if error.code != "alreadyRevoked":
            raise


def _status(status: Any) -> str:
    return str(status.name) if status is not None else "pending"


def _time_in(detail: str) -> datetime | None:
    """The time in Let's Encrypt's sentence "retry after 2026-11-29 12:00:00 UTC: see https:…"."""
    _, found, rest = detail.partition("retry after ")
    if not found:
        return None
    try:
        return datetime.strptime(rest[:19].replace("T", " "), "%Y-%m-%d %H:%M:%S").replace(
            tzinfo=UTC
        )
    except ValueError:
        return None
