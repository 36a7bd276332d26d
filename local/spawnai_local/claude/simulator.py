"""ClaudeSimulator: the HTTP server, its Messages API and its control API below `/_local/`.

An answer is streamed at the set speed and billed as it goes: input with message_start, output by
what was really sent, also when the client leaves or a fault cuts it.
"""

import asyncio
import contextlib
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Self

from aiohttp import web

from spawnai.clock import Clock, SystemClock
from spawnai_local.claude.answers import answer_text
from spawnai_local.claude.checks import (
    API_VERSIONS,
    CONTEXT_TOKENS,
    MAX_OUTPUT_TOKENS,
    MODELS,
    ApiError,
    check_request,
    invalid,
    text_of,
)
from spawnai_local.claude.faults import Fault, FaultPlan, marked
from spawnai_local.claude.given import given_answer
from spawnai_local.claude.ledger import Bill, Call, Ledger
from spawnai_local.claude.request import Request
from spawnai_local.claude.settings import NO_CREDIT_API_KEY, REPEATED_API_KEY, SimulatorSettings
from spawnai_local.claude.tokens import BYTES_PER_TOKEN, PromptCache, count_tokens

Send = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 32 * 1024 * 1024
# The 5.5 models think before they write; how much is not shown, but it is billed.
THINKING_TOKENS = 24
# How often a paced answer sends something.
CHUNK_SECONDS = 0.05
UNPACED_CHUNK_CHARACTERS = 1024
HUGE_CHUNK_CHARACTERS = 64 * 1024
HUGE_CHUNK_SECONDS = 0.002
HUGE_TEXT_CHARACTERS = 1024 * 1024
SLOWNESS = 5
REFUSED_AFTER_CHARACTERS = 16

_NO_CREDIT = (
    "Your credit balance is too low to access the Claude API. Please go to Plans & Billing to "
    "upgrade or purchase credits."
)
_SPEND_LIMIT = (
    "You have reached your API usage limits: your organization has crossed its monthly API usage "
    "threshold, set based on your organization's API tier."
)
_ERRORS: Mapping[str, ApiError] = {
    "overloaded": ApiError(529, "overloaded_error", "Overloaded"),
    "server-error": ApiError(500, "api_error", "Internal server error"),
    "rate-limited": ApiError(429, "rate_limit_error", "Number of requests has exceeded your limit"),
    "spend-limit": ApiError(429, "rate_limit_error", _SPEND_LIMIT, "enforced_spend_limit_reached"),
    "unauthorized": ApiError(401, "authentication_error", "invalid x-api-key"),
    "forbidden": ApiError(
        403, "permission_error", "Your API key does not have permission to use this model"
    ),
    "no-credit": ApiError(400, "invalid_request_error", _NO_CREDIT),
    "billing-error": ApiError(402, "billing_error", "There is an issue with your payment details"),
}
_CUT_HALFWAY = frozenset(
    {
        "overloaded-mid-stream",
        "connection-cut",
        "stream-ends-early",
        "hang-mid-stream",
        "max-tokens",
    }
)


@dataclass(frozen=True, slots=True)
class _Reply:
    """One answer to be given: what was asked, what is written, which faults it suffers."""

    request_id: str
    order: Request
    call: Call
    faults: list[str]
    message: dict[str, Any]
    text: str

    def ending(self) -> tuple[str, str]:
        """How much of the text is written, and the stop reason."""
        if "context-window" in self.faults:
            return "", "model_context_window_exceeded"
        if "refusal" in self.faults:
            return self.text[:REFUSED_AFTER_CHARACTERS], "refusal"
        if _CUT_HALFWAY.intersection(self.faults):
            return self.text[: len(self.text) // 2], "max_tokens"
        room = max(0, self.order.max_tokens - THINKING_TOKENS)
        if count_tokens(self.text) > room and "huge-file" not in self.faults:
            whole = self.text.encode()[: room * BYTES_PER_TOKEN]
            return whole.decode("utf-8", errors="ignore"), "max_tokens"
        return self.text, "end_turn"


class ClaudeSimulator:
    """One simulated account of Claude.

    `start` listens, `stop` ends every running answer. `settings` may be replaced while it runs.
    """

    def __init__(
        self, settings: SimulatorSettings | None = None, *, clock: Clock | None = None
    ) -> None:
        self.settings = settings or SimulatorSettings()
        self.ledger = Ledger()
        self.faults = FaultPlan()
        self._clock = clock or SystemClock()
        self._random = random.Random(self.settings.seed)  # noqa: S311 (speed and ids, no secret)
        self._cache = PromptCache()
        self._calls_by_key: dict[str, int] = {}
        self._number = 0
        self._runner: web.AppRunner | None = None
        self._url = ""

    @property
    def url(self) -> str:
        """The base URL, for ANTHROPIC_BASE_URL."""
        return self._url

    def calls(self, session: str | None = None) -> list[Call]:
        """The calls of one session, or all."""
        return self.ledger.calls(session)

    def bill(self, session: str | None = None) -> Bill:
        """What one session has to pay, or all."""
        return self.ledger.bill(session)

    def add_fault(self, line: str) -> None:
        """Add a fault by its line (faults.py)."""
        self.faults.add([Fault.parse(line)])

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL. Port 0 takes a free one."""
        app = web.Application(client_max_size=MAX_BODY_BYTES)
        app.router.add_post("/v1/messages", self._messages)
        app.router.add_post("/v1/messages/count_tokens", self._count_tokens)
        app.router.add_get("/v1/models", self._models)
        app.router.add_get("/v1/models/{model}", self._model)
        app.router.add_get("/_local/calls", self._show_calls)
        app.router.add_delete("/_local/calls", self._clear_calls)
        app.router.add_get("/_local/bill", self._show_bill)
        app.router.add_get("/_local/faults", self._show_faults)
        app.router.add_post("/_local/faults", self._add_faults)
        app.router.add_delete("/_local/faults", self._clear_faults)
        app.router.add_get("/_local/settings", self._show_settings)
        app.router.add_put("/_local/settings", self._change_settings)
        # With cancellation, an answer whose reader has gone ends, and is billed only until then.
        self._runner = web.AppRunner(
            app, handler_cancellation=True, access_log=None, shutdown_timeout=1.0
        )
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        await site.start()
        bound = self._runner.addresses[0]
        self._url = f"http://{bound[0]}:{bound[1]}"
        return self._url

    async def stop(self) -> None:
        """Stop listening and end what is running."""
        if self._runner is not None:
            await self._runner.cleanup()
            self._runner = None

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    # The Messages API ------------------------------------------------------------------------

    async def _messages(self, request: web.Request) -> web.StreamResponse:
        request_id = self._id("req")
        try:
            body = await self._accepted_body(request)
            check_request(body)
        except ApiError as error:
            return _error_response(error, request_id)
        order = Request.of(body)
        call = self._new_call(order)
        began = self._clock.now()
        try:
            return await self._answer(request, order, call, request_id)
        except ApiError as error:
            call.status, call.outcome = error.status, error.type
            return _error_response(error, request_id)
        except (asyncio.CancelledError, ConnectionError):
            if call.outcome == "running":
                call.outcome = "cut by the client"
            raise
        finally:
            call.seconds = self._clock.now() - began

    async def _answer(
        self, request: web.Request, order: Request, call: Call, request_id: str
    ) -> web.StreamResponse:
        planned = self.faults.next_call(order.session, order.app_type)
        round_number = self._calls_by_key.get(order.key, 0) + 1
        self._calls_by_key[order.key] = round_number
        seconds = {fault.name: fault.seconds for fault in planned}
        names = [*seconds, *marked(order.prompt, round_number - 1)]
        call.faults = names
        for name in names:
            if name == "hang":
                call.outcome = "hung"
                await self._clock.sleep(self.settings.hang_seconds)
            if name in {"drop", "hang"}:
                call.outcome = "cut"
                _break_connection(request)
                return web.Response()
            if name in _ERRORS:
                wait = seconds.get(name, 1.0) if name == "rate-limited" else None
                raise replace(_ERRORS[name], retry_after_seconds=wait)
        text = given_answer(self.settings.bundles, order.prompt, round_number)
        if text is None or not order.wants_app:
            text = answer_text(order, names, round_number)
        reply = _Reply(request_id, order, call, names, self._message(order, call), text)
        if order.streamed:
            return await self._stream(request, reply)
        return await self._whole(reply)

    def _message(self, order: Request, call: Call) -> dict[str, Any]:
        """The message as it begins; what was read of it is billed from here on."""
        usage = self._cache.use(
            f"{self.settings.api_key}/{order.model}",
            order.marked_prefix,
            order.unmarked,
            self._clock.now(),
        )
        call.input_tokens = usage.uncached
        call.cache_read_input_tokens = usage.cache_read
        call.cache_creation_input_tokens = usage.cache_write
        call.output_tokens = 1
        return {
            "id": self._id("msg"),
            "type": "message",
            "role": "assistant",
            "model": order.model,
            "content": [],
            "stop_reason": None,
            "stop_sequence": None,
            "stop_details": None,
            "usage": {
                **_usage(call),
                "cache_creation": {
                    "ephemeral_5m_input_tokens": usage.cache_write,
                    "ephemeral_1h_input_tokens": 0,
                },
                "service_tier": "standard",
            },
        }

    async def _whole(self, reply: _Reply) -> web.StreamResponse:
        written, reason = reply.ending()
        output = THINKING_TOKENS + count_tokens(written)
        rate = self._rate(reply.faults)
        await self._clock.sleep(self._first_token(reply.faults) + (output / rate if rate else 0))
        reply.call.output_tokens = output
        reply.call.outcome, reply.call.stop_reason = "complete", reason
        message = reply.message | {
            "content": [{"type": "text", "text": written}] if written else [],
            "stop_reason": reason,
            "stop_details": _stop_details(reason),
            "usage": reply.message["usage"] | _usage(reply.call),
        }
        return web.json_response(message, headers={"request-id": reply.request_id})

    async def _stream(self, request: web.Request, reply: _Reply) -> web.StreamResponse:
        call = reply.call
        written, reason = reply.ending()
        response = web.StreamResponse(
            headers={
                "content-type": "text/event-stream; charset=utf-8",
                "cache-control": "no-cache",
                "request-id": reply.request_id,
            }
        )
        await self._clock.sleep(self._first_token(reply.faults) / 2)
        await response.prepare(request)

        async def send(event: Mapping[str, Any]) -> None:
            data = json.dumps(event, ensure_ascii=False)
            await response.write(f"event: {event['type']}\ndata: {data}\n\n".encode())

        await send({"type": "message_start", "message": reply.message})
        await self._think(send, call)
        await send({"type": "ping"})
        await self._clock.sleep(self._first_token(reply.faults) / 2)
        if written:
            block = {"type": "text", "text": ""}
            await send({"type": "content_block_start", "index": 1, "content_block": block})
        sent = 0
        async for chunk in self._paced(written, reply.faults):
            # Billed before it is sent: what was written is paid, whether it arrives or not.
            sent += len(chunk.encode())
            call.output_tokens = THINKING_TOKENS + -(-sent // BYTES_PER_TOKEN)
            text = {"type": "text_delta", "text": chunk}
            await send({"type": "content_block_delta", "index": 1, "delta": text})
        if await self._break_off(request, send, reply):
            return response
        if written:
            await send({"type": "content_block_stop", "index": 1})
        call.outcome, call.stop_reason = "complete", reason
        end = {
            "stop_reason": reason,
            "stop_sequence": None,
            "stop_details": _stop_details(reason),
        }
        await send({"type": "message_delta", "delta": end, "usage": _usage(call)})
        await send({"type": "message_stop"})
        await response.write_eof()
        return response

    async def _think(self, send: Send, call: Call) -> None:
        block = {"type": "thinking", "thinking": "", "signature": ""}
        await send({"type": "content_block_start", "index": 0, "content_block": block})
        call.output_tokens = THINKING_TOKENS
        signature = {"type": "signature_delta", "signature": self._id("sig")}
        await send({"type": "content_block_delta", "index": 0, "delta": signature})
        await send({"type": "content_block_stop", "index": 0})

    async def _break_off(self, request: web.Request, send: Send, reply: _Reply) -> bool:
        """Do what a fault does half through an answer; True when the answer is over."""
        call, names = reply.call, reply.faults
        if "hang-mid-stream" in names:
            call.outcome = "hung"
            await self._clock.sleep(self.settings.hang_seconds)
        if "hang-mid-stream" in names or "connection-cut" in names:
            call.outcome = "cut"
            # What was written must be on its way before the connection is gone.
            await self._clock.sleep(CHUNK_SECONDS)
            _break_connection(request)
            return True
        if "overloaded-mid-stream" in names:
            call.outcome = "overloaded_error"
            await send(_ERRORS["overloaded"].document(reply.request_id))
            return True
        if "stream-ends-early" in names:
            call.outcome = "cut"
            return True
        return False

    async def _paced(self, text: str, names: list[str]) -> AsyncIterator[str]:
        """The text in pieces, at the set speed."""
        rate = self._rate(names)
        began = self._clock.now()
        at = 0
        while at < len(text):
            if len(text) > HUGE_TEXT_CHARACTERS:
                size = HUGE_CHUNK_CHARACTERS
                # A reader that has had enough must be able to say so before all is sent.
                await self._clock.sleep(HUGE_CHUNK_SECONDS)
            elif rate:
                size = max(
                    1,
                    round(BYTES_PER_TOKEN * rate * CHUNK_SECONDS * self._random.uniform(0.7, 1.3)),
                )
                due = began + (at + size) / (BYTES_PER_TOKEN * rate)
                await self._clock.sleep(max(0.0, due - self._clock.now()))
            else:
                size = UNPACED_CHUNK_CHARACTERS
            yield text[at : at + size]
            at += size

    def _rate(self, names: list[str]) -> float:
        """Tokens per second; 0 for as fast as it goes."""
        rate = self.settings.tokens_per_second
        return rate / SLOWNESS if "slow" in names else rate

    def _first_token(self, names: list[str]) -> float:
        seconds = self.settings.first_token_seconds
        return seconds * SLOWNESS if "slow" in names else seconds

    async def _accepted_body(self, request: web.Request) -> dict[str, Any]:
        """The body of a request whose key and headers are right."""
        self._check_key(request)
        version = request.headers.get("anthropic-version", "")
        if version not in API_VERSIONS:
            raise invalid(f"anthropic-version: {version or 'header is required'!r} is not known")
        try:
            body = json.loads(await request.text())
        except ValueError:
            raise invalid("The request body is not valid JSON") from None
        if not isinstance(body, dict):
            raise invalid("The request body must be an object")
        return body

    def _check_key(self, request: web.Request) -> None:
        """Accept `x-api-key`, or `authorization: Bearer` as the SDKs send it since 2.0."""
        bearer = request.headers.get("authorization", "").removeprefix("Bearer ")
        key = request.headers.get("x-api-key") or bearer
        if key == NO_CREDIT_API_KEY:
            # Without credit only what costs something is refused.
            if request.path == "/v1/messages":
                raise replace(_ERRORS["no-credit"])
        elif key == REPEATED_API_KEY:
            raise replace(_ERRORS["unauthorized"], message=f"invalid x-api-key: {key}")
        elif key != self.settings.api_key:
            raise replace(_ERRORS["unauthorized"])

    def _new_call(self, order: Request) -> Call:
        self._number += 1
        call = Call(
            number=self._number,
            session=order.session,
            model=order.model,
            app_type=order.app_type,
            repair=order.is_repair,
            streamed=order.streamed,
            at=self._clock.utc_now(),
        )
        self.ledger.add(call)
        return call

    def _id(self, prefix: str) -> str:
        return f"{prefix}_local{self._random.getrandbits(80):020x}"

    async def _count_tokens(self, request: web.Request) -> web.StreamResponse:
        request_id = self._id("req")
        try:
            body = await self._accepted_body(request)
            check_request({**body, "max_tokens": 1})
        except ApiError as error:
            return _error_response(error, request_id)
        text = text_of(body.get("system", ""))
        text += "".join(text_of(message.get("content")) for message in body["messages"])
        return web.json_response({"input_tokens": count_tokens(text)})

    async def _models(self, request: web.Request) -> web.StreamResponse:
        try:
            self._check_key(request)
        except ApiError as error:
            return _error_response(error, self._id("req"))
        models = [_model_document(name) for name in MODELS]
        first, last = models[0]["id"], models[-1]["id"]
        return web.json_response(
            {"data": models, "has_more": False, "first_id": first, "last_id": last}
        )

    async def _model(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["model"]
        try:
            self._check_key(request)
        except ApiError as error:
            return _error_response(error, self._id("req"))
        if name not in MODELS:
            missing = ApiError(404, "not_found_error", f"model: {name}")
            return _error_response(missing, self._id("req"))
        return web.json_response(_model_document(name))

    # The control API -------------------------------------------------------------------------

    async def _show_calls(self, request: web.Request) -> web.StreamResponse:
        calls = self.ledger.calls(request.query.get("session"))
        return web.json_response({"calls": [call.document() for call in calls]})

    async def _clear_calls(self, _: web.Request) -> web.StreamResponse:
        self.ledger.clear()
        self._calls_by_key.clear()
        return web.Response(status=204)

    async def _show_bill(self, request: web.Request) -> web.StreamResponse:
        session = request.query.get("session")
        if session is not None:
            return web.json_response(self.ledger.bill(session).document())
        return web.json_response(self.ledger.document())

    async def _show_faults(self, _: web.Request) -> web.StreamResponse:
        return web.json_response({"faults": [fault.document() for fault in self.faults.all()]})

    async def _add_faults(self, request: web.Request) -> web.StreamResponse:
        text = (await request.text()).strip()
        try:
            if text.startswith(("{", "[")):
                document = json.loads(text)
                wanted = document if isinstance(document, list) else [document]
            else:
                wanted = text.splitlines()
            faults = [Fault.parse(one) if isinstance(one, str) else Fault.of(one) for one in wanted]
        except (ValueError, TypeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        self.faults.add(faults)
        documents = [fault.document() for fault in faults]
        return web.json_response({"faults": documents}, status=201)

    async def _clear_faults(self, _: web.Request) -> web.StreamResponse:
        self.faults.clear()
        return web.Response(status=204)

    async def _show_settings(self, _: web.Request) -> web.StreamResponse:
        return web.json_response(self.settings.document())

    async def _change_settings(self, request: web.Request) -> web.StreamResponse:
        try:
            self.settings = self.settings.changed(json.loads(await request.text()))
        except (ValueError, TypeError, AttributeError) as error:
            return web.json_response({"error": str(error)}, status=400)
        return web.json_response(self.settings.document())


def _usage(call: Call) -> dict[str, int]:
    bill = call.bill().document()
    del bill["calls"]
    return bill


def _stop_details(reason: str) -> dict[str, str | None] | None:
    if reason != "refusal":
        return None
    return {
        "type": "refusal",
        "category": "cyber",
        "explanation": "This order could enable harm.",
    }


def _error_response(error: ApiError, request_id: str) -> web.Response:
    headers = {"request-id": request_id}
    if error.retry_after_seconds is not None:
        headers["retry-after"] = f"{error.retry_after_seconds:g}"
    return web.json_response(error.document(request_id), status=error.status, headers=headers)


def _break_connection(request: web.Request) -> None:
    """Close the connection without ceremony, as a broken network does."""
    transport = request.transport
    if transport is not None:
        with contextlib.suppress(OSError):
            transport.abort()


def _model_document(name: str) -> dict[str, Any]:
    return {
        "type": "model",
        "id": name,
        "display_name": MODELS[name],
        "created_at": "2026-09-01T00:00:00Z",
        "lifecycle": "active",
        "deprecated_at": None,
        "retires_at": None,
        "max_input_tokens": CONTEXT_TOKENS,
        "max_tokens": MAX_OUTPUT_TOKENS,
        "line": None,
        "capabilities": None,
    }
