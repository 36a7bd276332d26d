"""The operator's side of the conversation with one droplet's agent.

An agent runs on a machine that also runs a generated app: what it answers is read as untrusted
input, bounded in size and time, and can never do more than end its own session.

    AgentError
    ├── AgentUnreachable   not up yet, cut off, or too slow: repeat later
    ├── AgentRejected      it answered, and said no: repeating the same will not help
    └── AgentUntrusted     something else answers at that address: do not repeat, look at it
"""

import asyncio
import json
import ssl
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, Self

import httpx

from spawnai.droplet.credentials import AGENT_HOST_NAME, SessionCredentials

STATES = frozenset({"idle", "installing", "starting", "running", "finished", "failed"})

# A droplet answers its TCP port within milliseconds or does not answer at all.
CONNECT_SECONDS = 2.0
# The agent answers from memory, or after its AFTER_SECONDS; a bundle of 1 MiB has to be written to
# its disk first.
CALL_SECONDS = 10.0
# 100 log lines of 1,000 characters, each up to 6 bytes in JSON, fit; a flood does not.
ANSWER_MAX_BYTES = 1024 * 1024
LOG_MAX_LINES = 100
LOG_LINE_MAX_CHARACTERS = 1000
_IDLE_SECONDS = 30.0


class AgentError(Exception):
    """What went wrong in speaking to an agent; the message names the address and what to do."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class AgentUnreachable(AgentError):
    """No answer: not booted yet, cut off, or too slow. Every call is safe to repeat."""


class AgentRejected(AgentError):
    """The agent said no (`status`: 401 wrong token, 409 another bundle runs, 422 bad input)."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class AgentUntrusted(AgentError):
    """The certificate at that address is not the one this session's agent was given."""


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What the agent says of its app. `log` are the last lines, oldest first."""

    bundle_digest: str | None
    state: str
    reason: str | None
    exit_code: int | None
    restarts: int
    log: tuple[str, ...]
    expires_at: datetime
    agent_version: str


class AgentClient:
    """Speaks to one agent. Every call is idempotent, so a repeated one does nothing twice."""

    def __init__(self, address: str, port: int, credentials: SessionCredentials) -> None:
        host = f"[{address}]" if ":" in address else address
        self._address, self._port = address, port
        self._where = f"{host}:{port}"
        self._client = httpx.AsyncClient(
            base_url=f"https://{self._where}",
            headers={
                "Authorization": f"Bearer {credentials.token}",
                # An answer is read as it comes: a compressed one could grow without bounds.
                "Accept-Encoding": "identity",
            },
            verify=_pinned(credentials.certificate_pem),
            timeout=httpx.Timeout(CALL_SECONDS, connect=CONNECT_SECONDS),
            limits=httpx.Limits(max_connections=2, keepalive_expiry=_IDLE_SECONDS),
            # A proxy of the cluster has no business between the operator and a droplet.
            trust_env=False,
        )

    async def knock(self) -> None:
        """Find out whether anybody listens there: so little work that it may be done often.

        Raises:
            AgentUnreachable: nobody does yet.
        """
        try:
            async with asyncio.timeout(CONNECT_SECONDS):
                _, writer = await asyncio.open_connection(self._address, self._port)
        except OSError as error:
            raise self._no_answer(error) from error
        writer.transport.abort()

    async def status(self, *, after: str | None = None) -> AgentStatus:
        """What the agent and its app are doing.

        Whoever names the state that he knows of is answered when there is another, or when the
        agent does not want to wait any longer for it, at most 5 s later.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        known = {} if after is None else {"X-SpawnAI-After": after}
        answer = await self._call("GET", "/v1/status", headers=known)
        try:
            return _read_status(answer)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise AgentRejected(
                200, f"the agent at {self._where} gave a status that cannot be read: {error!r}"
            ) from error

    async def push(self, bundle_document: Mapping[str, Any]) -> None:
        """Give the agent its app; returns once the agent has written it to its disk.

        Pushing the same digest again is accepted and does nothing.

        Raises:
            AgentRejected: 409, it has another bundle; 413 or 422, it will not take this one.
            AgentUnreachable, AgentUntrusted: see there.
        """
        await self._call("PUT", "/v1/bundle", bundle_document)

    async def set_expiry(self, expires_at: datetime) -> None:
        """Move the droplet's dead man's switch to this time (plus the grace it was given).

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        await self._call("PUT", "/v1/expiry", {"expiresAt": expires_at.timestamp()})

    async def put_challenge(self, token: str, key_authorization: str) -> None:
        """Have the droplet answer an ACME server's http-01 challenge, at port 80, before all else.

        Raises:
            AgentRejected: 422, this is no challenge.
            AgentUnreachable, AgentUntrusted: see there.
        """
        await self._call("PUT", f"/v1/challenges/{token}", {"keyAuthorization": key_authorization})

    async def delete_challenge(self, token: str) -> None:
        """The challenge is over. One that is not there is none any more.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        await self._call("DELETE", f"/v1/challenges/{token}")

    async def put_certificate(self, chain_pem: str, key_pem: str, names: Sequence[str]) -> None:
        """Have the droplet serve this certificate for HTTPS; no connection is dropped by that.

        `names` are the host names and addresses that it is for; who asks for none of them by name
        (as for a bare address) gets the certificate too. Returns when it is served, or kept until
        the droplet's web server is installed. A new one takes the place of the one before.

        Raises:
            AgentRejected: 422, the key does not belong to the chain.
            AgentUnreachable, AgentUntrusted: see there.
        """
        await self._call(
            "PUT",
            "/v1/certificate",
            {"chain": chain_pem, "key": key_pem, "names": list(names)},
        )

    async def put_hosts(self, hosts: Sequence[str], *, redirect_http: bool) -> None:
        """Have the droplet answer these host names (and addresses) only: 421 for all others.

        Without any (as from birth) it answers every name. With `redirect_http`, plain HTTP leads
        to HTTPS; challenges and /health stay where they are.

        Raises:
            AgentRejected: 422, one of them is no host name in small letters or address.
            AgentUnreachable, AgentUntrusted: see there.
        """
        await self._call("PUT", "/v1/hosts", {"hosts": list(hosts), "redirectHttp": redirect_http})

    async def close(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.close()

    async def _call(
        self,
        method: str,
        path: str,
        document: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(CALL_SECONDS + CONNECT_SECONDS),
                self._client.stream(
                    method,
                    path,
                    json=document,
                    headers=headers,
                    extensions={"sni_hostname": AGENT_HOST_NAME},
                ) as response,
            ):
                body = await self._read(response)
        except (httpx.HTTPError, TimeoutError) as error:
            raise self._no_answer(error) from error
        answer = _object(body)
        if response.status_code in {200, 202}:
            if answer is None:
                raise AgentRejected(
                    response.status_code, f"the agent at {self._where} answered no JSON object"
                )
            return answer
        said = str((answer or {}).get("error", "no reason given"))[:LOG_LINE_MAX_CHARACTERS]
        message = f"the agent at {self._where} answered {method} {path} with "
        message += f"{response.status_code}: {said}"
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            raise AgentUnreachable(message)
        raise AgentRejected(response.status_code, message)

    async def _read(self, response: httpx.Response) -> bytes:
        body = b""
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > ANSWER_MAX_BYTES:
                raise AgentRejected(
                    response.status_code,
                    f"the agent at {self._where} answered more than {ANSWER_MAX_BYTES} bytes",
                )
        return body

    def _no_answer(self, error: Exception) -> AgentError:
        cause: BaseException | None = error
        while cause is not None:
            if isinstance(cause, ssl.SSLCertVerificationError):
                return AgentUntrusted(
                    f"{self._where} shows another certificate than this session's agent was given; "
                    "its address may have passed to someone else"
                )
            cause = cause.__cause__ or cause.__context__
        return AgentUnreachable(
            f"the agent at {self._where} does not answer ({type(error).__name__}: {error}); "
            "it may still be booting, or be cut off"
        )


def _pinned(certificate_pem: str) -> ssl.SSLContext:
    """Trusts exactly this certificate, whatever the system trusts."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The certificate is its own anchor and no authority: a name would prove nothing more.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=certificate_pem)
    return context


def _object(body: bytes) -> dict[str, Any] | None:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return document if isinstance(document, dict) else None


def _read_status(answer: Mapping[str, Any]) -> AgentStatus:
    state = answer["state"]
    if state not in STATES:
        raise ValueError(f"unknown state {str(state)[:40]!r}, expected one of {sorted(STATES)}")
    log = answer["log"]
    if not isinstance(log, list):
        raise TypeError("log is no list")
    exit_code = answer["exitCode"]
    return AgentStatus(
        bundle_digest=_optional_text(answer["bundleDigest"]),
        state=state,
        reason=_optional_text(answer["reason"]),
        exit_code=None if exit_code is None else int(exit_code),
        restarts=int(answer["restarts"]),
        log=tuple(str(line)[:LOG_LINE_MAX_CHARACTERS] for line in log[-LOG_MAX_LINES:]),
        expires_at=datetime.fromtimestamp(float(answer["expiresAt"]), UTC),
        agent_version=str(answer["agentVersion"])[:LOG_LINE_MAX_CHARACTERS],
    )


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)[:LOG_LINE_MAX_CHARACTERS]
