"""How a request becomes an answer: token, rate limit, fault, effect, count. No HTTP server in it.

An exchange is a generator that yields how many seconds to wait and returns the answer, or None
where the connection closes without one. The HTTP server waits on the clock; a test or a
simulation may do as it likes, for example move the clock itself.
"""

import json
from collections.abc import Callable, Generator
from dataclasses import replace

from spawnai_local.digitalocean import errors
from spawnai_local.digitalocean.attribution import Attribution
from spawnai_local.digitalocean.calls import Call, Calls
from spawnai_local.digitalocean.cloud import Cloud
from spawnai_local.digitalocean.exchange import Answer, Request, refusal
from spawnai_local.digitalocean.faults import NO_FAULT, Fault, FaultPlan, Kind
from spawnai_local.digitalocean.rate_limits import RateLimits
from spawnai_local.digitalocean.router import Route
from spawnai_local.digitalocean.scopes import Scopes, has_scope, scopes_of, withheld
from spawnai_local.digitalocean.state.droplets import Anomalies

BEARER = "bearer "
Observer = Callable[[str, Request, Answer], None]
"""Takes the endpoint (`METHOD /path/{parameter}`), the request and its answer."""
Exchange = Generator[float, None, Answer | None]


class Api:
    """DigitalOcean's API over one account."""

    def __init__(self, cloud: Cloud, tokens: frozenset[str], scopes: Scopes) -> None:
        self._cloud = cloud
        self.tokens = {**dict.fromkeys(tokens), **scopes}
        """The tokens that open the account, each with its scopes; None is full access."""
        self._router = cloud.router()
        self._attribution = Attribution(cloud.droplets)
        self.rate_limits = RateLimits(cloud.world)
        self.faults = FaultPlan(cloud.world.randomness)
        self.calls = Calls()
        self.observers: list[Observer] = []
        """Called with every answer before it leaves, the refused ones too."""

    @property
    def endpoints(self) -> list[str]:
        """Every endpoint that is emulated, as `METHOD /path/{parameter}`."""
        return self._router.endpoints

    def exchange(self, request: Request) -> Exchange:
        """Answer a request; see the module for how a generator does that."""
        call = self.calls.arrive(request.path, self._cloud.world.now())
        answer: Answer | None = None
        try:
            answer = yield from self._answer(request, call)
        finally:
            status = answer.status if answer is not None else None
            self.calls.end(call, status, self._cloud.world.now())
        if answer is not None:
            for observe in self.observers:
                observe(call.endpoint, request, answer)
        return answer

    def call(self, request: Request) -> Answer | None:
        """Answer a request at once, whatever it should have waited."""
        exchange = self.exchange(request)
        while True:
            try:
                next(exchange)
            except StopIteration as end:
                answer: Answer | None = end.value
                return answer

    def _answer(self, request: Request, call: Call) -> Exchange:
        headers = {"x-request-id": call.request_id}
        try:
            with call.working():
                self._cloud.timeline.settle()
                token, route, fault = self._admit(request, call, headers)
        except errors.ApiError as error:
            return _with_headers(refusal(error, call.request_id), headers)
        seconds = fault.seconds or 0.0

        match fault.kind:
            case Kind.CUT_BEFORE:
                return None
            case Kind.TIMEOUT_BEFORE:
                yield seconds
                return None
            case Kind.RATE_LIMITED:
                limited = self.rate_limits.refusal(token, fault.seconds)
                return _with_headers(refusal(limited, call.request_id), headers)
            case Kind.ERROR_BEFORE:
                return _with_headers(_error_of(fault, call.request_id), headers)
            case Kind.LATE:
                yield seconds

        with call.working():
            self._cloud.timeline.settle()
            request.anomalies = _anomalies_of(fault)
            answer = withheld(self._perform(route, request, call), self.tokens[token])

        match fault.kind:
            case Kind.CUT_AFTER:
                return None
            case Kind.TIMEOUT_AFTER:
                yield seconds
                return None
            case Kind.ERROR_AFTER:
                answer = _error_of(fault, call.request_id)
            case Kind.SLOW:
                yield seconds
            case Kind.EMPTY | Kind.PARTIAL:
                answer = _shortened(answer, empty=fault.kind is Kind.EMPTY)
            case Kind.GARBLED if answer.body is not None:
                answer = replace(answer, body=answer.body[: len(answer.body) // 2])
        latency = self._cloud.world.draw(self._cloud.world.delays.answer)
        if latency > 0:
            yield latency
        return _with_headers(answer, headers)

    def _admit(
        self, request: Request, call: Call, headers: dict[str, str]
    ) -> tuple[str, Route, Fault]:
        """Find out what a call is and what it suffers, and count it, also when it is refused."""
        try:
            token = self._token(request)
            route, request.parameters = self._router.find(request.method, request.path)
            if route is not None:
                call.endpoint = route.endpoint
                call.session = self._attribution.session(route, request)
            headers |= self.rate_limits.take(token)
            if route is None:
                raise errors.not_emulated(request.method, request.path)
            self._check_right(token, route)
            fault = self.faults.for_call(route, call.session)
            call.fault = None if fault is NO_FAULT else fault.line
            return token, route, fault
        finally:
            self.calls.count(call)

    def _token(self, request: Request) -> str:
        authorization = request.headers.get("authorization", "")
        token = authorization[len(BEARER) :].strip()
        if authorization[: len(BEARER)].lower() != BEARER or token not in self.tokens:
            raise errors.unauthorized()
        return token

    def _check_right(self, token: str, route: Route) -> None:
        scopes = self.tokens[token]
        if not all(has_scope(scopes, scope) for scope in scopes_of(route)):
            reads_only = scopes is not None and all(one.endswith(":read") for one in scopes)
            raise errors.read_only() if reads_only else errors.missing_scope()
        if route.method == "POST" and self._cloud.account.status == "locked":
            raise errors.account_locked()

    def _perform(self, route: Route, request: Request, call: Call) -> Answer:
        try:
            answer = route.handler(request)
        except errors.ApiError as error:
            return refusal(error, call.request_id)
        if call.session is not None and route.method == "POST":
            self._attribution.learn(route, request, answer, call.session)
        return answer


def _with_headers(answer: Answer, headers: dict[str, str]) -> Answer:
    return replace(answer, headers={**headers, **answer.headers})


def _error_of(fault: Fault, request_id: str) -> Answer:
    return refusal(errors.of_status(fault.status, fault.message), request_id)


def _anomalies_of(fault: Fault) -> Anomalies:
    return Anomalies(
        unlisted=fault.seconds if fault.kind is Kind.UNLISTED else None,
        unseen=fault.seconds if fault.kind is Kind.UNSEEN else None,
        vanish=fault.seconds if fault.kind is Kind.VANISH else None,
        ghost=fault.seconds if fault.kind is Kind.GHOST else None,
        errored=fault.kind is Kind.ERRORED,
    )


def _shortened(answer: Answer, *, empty: bool) -> Answer:
    """Return a listing without its items, or without half of them; other answers as they are."""
    if answer.body is None or answer.status >= errors.LOWEST_STATUS:
        return answer
    document = answer.document()
    if "meta" not in document:
        return answer
    for key, value in document.items():
        if isinstance(value, list):
            document[key] = [] if empty else value[: len(value) // 2]
    if empty:
        document["meta"]["total"] = 0
    document["links"] = {}
    return replace(answer, body=json.dumps(document).encode())
