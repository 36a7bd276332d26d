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
import os
import re
import ssl
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

import httpx

from spawnai.droplet.cloud_config import DropletBootstrap, session_document
from spawnai.droplet.credentials import AGENT_HOST_NAME, SessionCredentials

STATES = frozenset({"idle", "installing", "starting", "running", "finished", "failed", "stopped"})
_HELD = "held"
_UPDATE_STATES = STATES | {_HELD}
_WORD = re.compile(r"[A-Za-z0-9_-]{32}")

# A droplet answers its TCP port within milliseconds or does not answer at all.
CONNECT_SECONDS = 2.0
# The agent answers from memory, or after its AFTER_SECONDS; a bundle of 1 MiB has to be written to
# its disk first.
CALL_SECONDS = 10.0
STOP_SECONDS = 5.0
# A spare that changes hands has done so within a second; this leaves room for a second try.
TAKE_OVER_SECONDS = 20.0
# 1,000 log lines of 1,000 characters, each up to 6 bytes in JSON, fit; a flood does not.
ANSWER_MAX_BYTES = 8 * 1024 * 1024
LOG_MAX_LINES = 100
LOG_LINE_MAX_CHARACTERS = 1000
USAGE_MAX_SAMPLES = 1440
USAGE_MOST_COUNTED = 10_000_000  # 19 years
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
class UpdateStatus:
    """How far a further bundle is: `state` as of an app, `failed` when the one before stays, `held`
    when it works and waits to be pushed without `hold`. Only who names `word` reaches it then.

    `message` is the agent's sentence about a failure, `error` the first line in which the app (or
    npm) itself said what went wrong.
    """

    bundle_digest: str
    state: str
    reason: str | None = None
    message: str | None = None
    error: str | None = None
    exit_code: int | None = None
    word: str | None = None


@dataclass(frozen=True, slots=True)
class LogLines:
    """Some lines of the log, and the number to ask on with."""

    lines: tuple[str, ...]
    next: int


@dataclass(frozen=True, slots=True)
class UsageSample:
    """How much of the droplet was in use, in percent, over `seconds` until `at`."""

    at: datetime
    seconds: float
    cpu: float
    memory: float


@dataclass(frozen=True, slots=True)
class AgentStatus:
    """What the agent says of its app. `log` are the last lines, oldest first.

    `bundle_digest` is the bundle that serves; `update` is the last one that was tried beside it.
    `restarts` counts since that bundle began to serve. `expires_at` is what the dead man's switch
    itself goes by. `runtime` is "ok" when what apps run on is installed and the web server runs,
    empty before, and otherwise says why it could not be installed. `ran_seconds` is how long a
    script took, once it has ended well.
    """

    bundle_digest: str | None
    state: str
    reason: str | None
    exit_code: int | None
    restarts: int
    log: tuple[str, ...]
    expires_at: datetime
    agent_version: str
    message: str | None = None
    error: str | None = None
    update: UpdateStatus | None = None
    runtime: str = ""
    ran_seconds: float | None = None

    @property
    def progress(self) -> str:
        """What to name to `status(after=)`, to hear of the next change of app or update."""
        return f"{self.state}/{self.update.state}" if self.update else self.state


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
            verify=_mutual(credentials),
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

        A caller that names the state (or the `progress`) it knows of is answered when there is
        another, or when the agent does not want to wait any longer for it, at most 5 s later.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        known = {} if after is None else {"X-SpawnAI-After": after}
        answer = await self._call("GET", "/v1/status", headers=known)
        try:
            return _read_status(answer)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._unreadable("status", error) from error

    async def push(self, bundle_document: Mapping[str, Any]) -> None:
        """Give the agent an app; returns once the agent has written it to its disk.

        The first one is installed and started. While one serves, a further one is a new revision:
        it is started beside the old one, takes its place when it works, and otherwise leaves
        everything as it was (`AgentStatus.update`). After one that failed, it is a new beginning.
        Pushing a digest again that serves, is tried, or was tried last and failed, does nothing.
        The last bundle that is pushed wins: pushing the one that serves ends a try.

        With `"hold": true` in the document, one that is tried beside another and works is held
        (`UpdateStatus`) until it is pushed without. An agent of an earlier version of the product
        holds none.

        Raises:
            AgentRejected: 409, the session has ended; 413 or 422, it will not take this one.
            AgentUnreachable, AgentUntrusted: see there.
        """
        await self._call("PUT", "/v1/bundle", bundle_document)

    async def set_expiry(self, expires_at: datetime, *, remaining: timedelta | None = None) -> None:
        """Move the droplet's dead man's switch to this time (plus the grace it was given).

        `remaining` is how long that is from now by the caller's own clock. The droplet counts that
        time down, so its own date may be wrong; without it the droplet's date decides. Returns once
        the switch itself has taken it in.

        Raises:
            AgentUnreachable: also when the switch did not answer; ask again.
            AgentRejected, AgentUntrusted: see there.
        """
        document = {"expiresAt": expires_at.timestamp()}
        if remaining is not None:
            document["lifetimeSeconds"] = remaining.total_seconds()
        await self._call("PUT", "/v1/expiry", document)

    async def set_environment(self, variables: Mapping[str, str]) -> None:
        """Give the app these environment variables, in the place of those before.

        They hold from the next start of the app's process: call it before `push`. They reach the
        process alone: no file that the app's user may read, no log, no command line.

        Raises:
            AgentRejected: 422, a name is not one that may be set; no message tells a value.
            AgentUnreachable, AgentUntrusted: see there.
        """
        await self._call("PUT", "/v1/env", dict(variables))

    async def stop(self, grace_seconds: float = STOP_SECONDS) -> None:
        """End the app before its droplet goes: a page says so, then its process gets SIGTERM.

        A process that has not ended after `grace_seconds` is killed. Returns when it has ended. It
        takes no bundle any more; `restart` brings it back.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        await self._call(
            "POST",
            "/v1/stop",
            {"seconds": grace_seconds},
            seconds=CALL_SECONDS + grace_seconds,
        )

    async def restart(self) -> None:
        """Have a stopped app serve again, from what is on the droplet's disk.

        Returns at once; `status` tells when it answers. An app that is not stopped is left alone.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        await self._call("POST", "/v1/restart")

    async def read_log(self, after: int = 0) -> LogLines:
        """The lines of the log from this number on; waits up to 5 s when there is none yet.

        Numbers count from the agent's start, and at most the last 1,000 lines are kept: a larger
        step of `next` than lines came means that some were lost.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        answer = await self._call("GET", f"/v1/log?after={after}")
        try:
            lines = tuple(str(line)[:LOG_LINE_MAX_CHARACTERS] for line in answer["lines"])
            return LogLines(lines, int(answer["next"]))
        except (KeyError, TypeError, ValueError) as error:
            raise self._unreadable("log", error) from error

    async def read_usage(self, after: int = 0) -> tuple[tuple[UsageSample, ...], int]:
        """Samples of processor and memory from this number on, one a minute, and the next number.

        The last day's are kept. Numbers count from the agent's start: a smaller one than before
        means that it was started again.

        Raises:
            AgentUnreachable, AgentRejected, AgentUntrusted: see there.
        """
        answer = await self._call("GET", f"/v1/usage?after={after}")
        try:
            samples = tuple(_read_sample(one) for one in answer["samples"][:USAGE_MAX_SAMPLES])
            return samples, _bounded(int(answer["next"]), USAGE_MOST_COUNTED)
        except (KeyError, TypeError, ValueError, OverflowError) as error:
            raise self._unreadable("usage", error) from error

    async def put_session(self, document: Mapping[str, Any]) -> None:
        """Hand a spare over to a session: see `take_over`.

        Raises:
            AgentRejected: 409, the droplet is another session's; 422, this is no session; 404 from
                an agent of an earlier version of the product, which cannot be handed over.
            AgentUnreachable: also when the switch did not answer; ask again.
            AgentUntrusted: see there.
        """
        await self._call("PUT", "/v1/session", document)

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
        seconds: float = CALL_SECONDS,
    ) -> dict[str, Any]:
        try:
            async with (
                asyncio.timeout(seconds + CONNECT_SECONDS),
                self._client.stream(
                    method,
                    path,
                    json=document,
                    headers=headers,
                    timeout=httpx.Timeout(seconds, connect=CONNECT_SECONDS),
                    extensions={"sni_hostname": AGENT_HOST_NAME},
                ) as response,
            ):
                body = await self._read(response)
        except (httpx.HTTPError, OSError) as error:  # TLS alerts come as they are
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
        body = bytearray()
        async for chunk in response.aiter_raw():
            body += chunk
            if len(body) > ANSWER_MAX_BYTES:
                raise AgentRejected(
                    response.status_code,
                    f"the agent at {self._where} answered more than {ANSWER_MAX_BYTES} bytes",
                )
        return bytes(body)

    def _unreadable(self, what: str, error: Exception) -> AgentRejected:
        return AgentRejected(
            200, f"the agent at {self._where} gave a {what} that cannot be read: {error!r}"
        )

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


async def take_over(address: str, spare: SessionCredentials, bootstrap: DropletBootstrap) -> None:
    """Hand a spare over to a session, for good: its agent is then what `bootstrap` describes.

    It answers to the session's credentials and no longer to the spare's, and its switch counts the
    session's lifetime. Safe to repeat, with whatever end: the first time decides. Whether a lost
    answer was a yes is told by the certificate that the agent shows: it is asked with the session's
    keys first, with the spare's where that is not trusted, and then with the session's once more.

    Raises:
        AgentUnreachable: no answer within `TAKE_OVER_SECONDS`; it may have changed hands. Repeat.
        AgentRejected: it did not change hands, and will not: see `AgentClient.put_session`.
        AgentUntrusted: it is neither this spare nor this session's.
    """
    document = session_document(bootstrap)

    async def ask(credentials: SessionCredentials) -> None:
        async with AgentClient(address, bootstrap.agent_port, credentials) as agent:
            await agent.put_session(document)

    try:
        async with asyncio.timeout(TAKE_OVER_SECONDS):
            try:
                await ask(bootstrap.credentials)
            except AgentUntrusted:
                await _ask_spare(ask, spare, bootstrap.credentials)
    except TimeoutError:
        raise AgentUnreachable(
            f"the agent at {address} did not say within {TAKE_OVER_SECONDS:.0f} s whether it has "
            "changed hands"
        ) from None


async def _ask_spare(
    ask: Callable[[SessionCredentials], Awaitable[None]],
    spare: SessionCredentials,
    session: SessionCredentials,
) -> None:
    try:
        await ask(spare)
    except (AgentUnreachable, AgentUntrusted) as problem:
        try:
            await ask(session)
        except AgentUntrusted:
            raise problem from None


def _mutual(credentials: SessionCredentials) -> ssl.SSLContext:
    """Trusts exactly the agent's certificate, whatever the system trusts, and shows our own."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    # The certificate is its own anchor and no authority: a name would prove nothing more.
    context.check_hostname = False
    context.verify_mode = ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=credentials.certificate_pem)
    if credentials.operator_key_pem:
        # A context reads keys from files only; this one touches no disk.
        memory = os.memfd_create("operator", os.MFD_CLOEXEC)
        try:
            shown = credentials.operator_certificate_pem + credentials.operator_key_pem
            os.write(memory, shown.encode("ascii"))
            context.load_cert_chain(f"/proc/self/fd/{memory}")
        finally:
            os.close(memory)
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
    return AgentStatus(
        bundle_digest=_optional_text(answer["bundleDigest"]),
        state=state,
        reason=_optional_text(answer["reason"]),
        exit_code=_optional_number(answer["exitCode"]),
        restarts=int(answer["restarts"]),
        log=tuple(str(line)[:LOG_LINE_MAX_CHARACTERS] for line in log[-LOG_MAX_LINES:]),
        expires_at=datetime.fromtimestamp(float(answer["expiresAt"]), UTC),
        agent_version=str(answer["agentVersion"])[:LOG_LINE_MAX_CHARACTERS],
        message=_optional_text(answer.get("message")),
        error=_optional_text(answer.get("error")),
        update=_read_update(answer.get("update")),
        runtime=_optional_text(answer.get("runtime")) or "",
        ran_seconds=_optional_seconds(answer.get("ranSeconds")),
    )


def _read_update(update: Any) -> UpdateStatus | None:
    if update is None:
        return None
    if update["state"] not in _UPDATE_STATES:
        raise ValueError(f"unknown state {str(update['state'])[:40]!r} of an update")
    word = _optional_text(update.get("word"))
    if word is not None and not _WORD.fullmatch(word):
        raise ValueError("the word of an update is none")
    return UpdateStatus(
        bundle_digest=str(update["bundleDigest"])[:LOG_LINE_MAX_CHARACTERS],
        state=update["state"],
        reason=_optional_text(update["reason"]),
        message=_optional_text(update["message"]),
        error=_optional_text(update["error"]),
        exit_code=_optional_number(update["exitCode"]),
        word=word,
    )


def _optional_seconds(value: Any) -> float | None:
    seconds = None if value is None else float(value)
    if seconds is not None and not 0 <= seconds < 86_400:  # noqa: PLR2004 - a day
        raise ValueError("a number of seconds is not between 0 and a day")
    return seconds


def _read_sample(sample: Any) -> UsageSample:
    cpu, memory, seconds = (float(sample[name]) for name in ("cpu", "memory", "seconds"))
    if not (0 <= cpu <= 100 and 0 <= memory <= 100 and 0 < seconds < 86_400):  # noqa: PLR2004
        raise ValueError("a percentage is not between 0 and 100, or a time is none")
    return UsageSample(datetime.fromtimestamp(float(sample["at"]), UTC), seconds, cpu, memory)


def _bounded(number: int, most: int) -> int:
    if not 0 <= number <= most:
        raise ValueError(f"a number is not between 0 and {most}")
    return number


def _optional_number(value: Any) -> int | None:
    return None if value is None else int(value)


def _optional_text(value: Any) -> str | None:
    return None if value is None else str(value)[:LOG_LINE_MAX_CHARACTERS]
