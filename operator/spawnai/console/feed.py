"""What happens to sessions, watched once for all pages that may see the same.

A feed is one watch at the API server for one scope (a namespace, or one session in it). Every
subscriber has proved with an own token that it may watch that scope; the watch itself is made with
the token of one of them, and of another when that one leaves or loses the right.

A subscriber that reads slowly costs nothing: it holds at most one message for each session, the
newest. Messages come in the order of their sequence, so that a client that has seen one sequence
has missed nothing before it.
"""

import asyncio
import json
import logging
from collections import OrderedDict, deque
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from random import Random
from typing import Any

from spawnai.clock import Clock

from .api_server import PAGE_SIZE, ApiServer, Expired, Refused, Unreachable, sessions_path
from .caller import Caller
from .models import session_answer, update_of

_LOGGER = logging.getLogger(__name__)

_DELETIONS_KEPT = 1_000
_LONGEST_BACKOFF_SECONDS = 30.0
_LINGER_SECONDS = 30.0
"""How long a feed goes on without subscribers: a page that is loaded again finds it warm."""

_NOT_ALLOWED = frozenset({401, 403})


@dataclass(frozen=True, slots=True)
class Scope:
    """What is watched: all sessions of a namespace, or the one with that name."""

    namespace: str
    name: str | None = None

    @property
    def path(self) -> str:
        """Where the API server lists it."""
        return sessions_path(self.namespace)

    @property
    def query(self) -> dict[str, str]:
        """What restricts the listing to the scope."""
        return {} if self.name is None else {"fieldSelector": f"metadata.name={self.name}"}


@dataclass(frozen=True, slots=True)
class _Shown:
    sequence: int
    text: str


@dataclass(frozen=True, slots=True)
class Message:
    """A message of a feed, as JSON, with the sequence after which it stands."""

    sequence: int
    text: str


class Subscription:
    """One reader of a feed."""

    def __init__(self, caller: Caller) -> None:
        self.caller = caller
        self.refusal: Refused | None = None
        """Why the stream ended, when the reader lost the right to it."""
        self._pending: OrderedDict[str, Message] = OrderedDict()
        self._news = asyncio.Event()
        self._closed = False

    def put(self, key: str, message: Message) -> None:
        """Hand over a message; it takes the place of an older one about the same thing."""
        # To the end, not in place: the order of sequences is what a resumption relies on.
        self._pending.pop(key, None)
        self._pending[key] = message
        self._news.set()

    def start_again(self, messages: list[tuple[str, Message]]) -> None:
        """Forget what was not read yet, and hand over everything from the beginning."""
        self._pending = OrderedDict(messages)
        self._news.set()

    def close(self, refusal: Refused | None = None) -> None:
        """End the stream, after what was handed over."""
        self.refusal = refusal
        self._closed = True
        self._news.set()

    async def messages(self) -> AsyncIterator[Message]:
        """The messages, until the stream is closed."""
        while True:
            while self._pending:
                _, message = self._pending.popitem(last=False)
                yield message
            if self._closed:
                return
            self._news.clear()
            await self._news.wait()


@dataclass(slots=True)
class _State:
    """What the feed knows; `sequence` is how far."""

    sequence: int = 0
    whole: bool = False
    sessions: dict[str, _Shown] = field(default_factory=dict)
    deletions: deque[tuple[str, Message]] = field(
        default_factory=lambda: deque(maxlen=_DELETIONS_KEPT)
    )
    known_since: int = 0
    """From this sequence on all deletions are in `deletions`."""


class Feed:
    """One watch and its readers.

    Args:
        scope: what is watched.
        api: the API server.
        clock: for waiting between tries.
        random: spreads the tries.
    """

    def __init__(self, scope: Scope, api: ApiServer, clock: Clock, random: Random) -> None:
        self.scope = scope
        self._api = api
        self._clock = clock
        self._random = random
        self._state = _State()
        self._subscriptions: set[Subscription] = set()
        self._joined = asyncio.Event()
        self._trouble: str | None = None

    @property
    def subscriptions(self) -> int:
        """How many readers there are."""
        return len(self._subscriptions)

    def subscribe(self, caller: Caller, since: int | None) -> Subscription:
        """Add a reader who was found to have the right.

        `since`: the sequence of the last message that the reader has seen. What changed later is
        told in its newest state; where that cannot be known, everything is told from the start.
        """
        subscription = Subscription(caller)
        self._subscriptions.add(subscription)
        self._joined.set()
        if self._state.whole:
            subscription.start_again(self._story(since))
            if self._trouble is not None:
                subscription.put("trouble", self._trouble_message(self._trouble))
        # Else the first listing is under way, and is told to all.
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Forget a reader."""
        self._subscriptions.discard(subscription)

    def end_of(self, caller: Caller, refusal: Refused) -> None:
        """A caller has lost the right: end all its streams."""
        for subscription in list(self._subscriptions):
            if subscription.caller == caller:
                self._subscriptions.discard(subscription)
                subscription.close(refusal)

    def close(self) -> None:
        """End all streams; their readers may come again."""
        for subscription in self._subscriptions:
            subscription.close()
        self._subscriptions.clear()

    async def run(self) -> None:
        """Watch until there has been no reader for a while."""
        failures = 0
        while await self._has_readers():
            caller = next(iter(self._subscriptions)).caller
            try:
                if not self._state.whole:
                    await self._list(caller)
                self._trouble_is_over()
                failures = 0
                await self._watch(caller)
            except Expired:
                self._state.whole = False
            except Refused as error:
                if error.status in _NOT_ALLOWED:
                    self.end_of(caller, error)
                    continue
                failures += 1
                await self._wait(failures, str(error))
            except Unreachable as error:
                failures += 1
                await self._wait(failures, str(error))

    async def _has_readers(self) -> bool:
        if self._subscriptions:
            return True
        self._joined.clear()
        try:
            async with asyncio.timeout(_LINGER_SECONDS):
                await self._joined.wait()
        except TimeoutError:
            return bool(self._subscriptions)
        return True

    async def _list(self, caller: Caller) -> None:
        sessions: dict[str, _Shown] = {}
        query = {**self.scope.query, "limit": str(PAGE_SIZE)}
        while True:
            page = await self._api.call(caller.token, "GET", self.scope.path, query=query)
            for document in page["items"]:
                sessions[document["metadata"]["uid"]] = _shown(document)
            position = page["metadata"].get("continue")
            if not position:
                break
            query["continue"] = position
        sequence = int(page["metadata"]["resourceVersion"])
        self._state = _State(sequence, whole=True, sessions=sessions, known_since=sequence)
        for subscription in self._subscriptions:
            subscription.start_again(self._story(None))

    async def _watch(self, caller: Caller) -> None:
        query = {**self.scope.query, "resourceVersion": str(self._state.sequence)}
        async for event in self._api.watch(caller.token, self.scope.path, query):
            document = event["object"]
            sequence = int(document["metadata"]["resourceVersion"])
            if sequence <= self._state.sequence:
                continue
            if event["type"] == "DELETED":
                self._deleted(document, sequence)
            elif event["type"] in ("ADDED", "MODIFIED"):
                shown = self._state.sessions[document["metadata"]["uid"]] = _shown(document)
                self._tell(document["metadata"]["uid"], Message(sequence, shown.text))
            self._state.sequence = sequence
            if not self._subscriptions:
                return

    def _deleted(self, document: Mapping[str, Any], sequence: int) -> None:
        uid = document["metadata"]["uid"]
        self._state.sessions.pop(uid, None)
        deletions = self._state.deletions
        if len(deletions) == deletions.maxlen:
            self._state.known_since = deletions[0][1].sequence
        message = Message(sequence, _text_of(document, "deleted"))
        deletions.append((uid, message))
        self._tell(uid, message)

    def _tell(self, key: str, message: Message) -> None:
        for subscription in self._subscriptions:
            subscription.put(key, message)

    def _story(self, since: int | None) -> list[tuple[str, Message]]:
        """What a reader has to hear who has seen everything up to `since`."""
        state = self._state
        resumed = since is not None and state.known_since <= since <= state.sequence
        after = since if resumed and since is not None else -1
        told = [
            (uid, Message(shown.sequence, shown.text))
            for uid, shown in state.sessions.items()
            if shown.sequence > after
        ]
        if resumed:
            told += [one for one in state.deletions if one[1].sequence > after]
        told.sort(key=lambda one: one[1].sequence)
        if not resumed:
            told.insert(0, ("reset", Message(0, json.dumps({"type": "reset"}))))
        synced = json.dumps({"type": "synced", "sequence": str(state.sequence)})
        return [*told, ("synced", Message(state.sequence, synced))]

    async def _wait(self, failures: int, why: str) -> None:
        longest = min(_LONGEST_BACKOFF_SECONDS, 2.0 ** (failures - 1))
        if self._trouble is None:
            _LOGGER.warning("Watching sessions of %s: %s", self.scope.namespace, why)
        self._trouble = why
        self._tell("trouble", self._trouble_message(why))
        await self._clock.sleep(longest * self._random.uniform(0.5, 1.0))

    def _trouble_message(self, why: str) -> Message:
        return Message(self._state.sequence, json.dumps({"type": "trouble", "message": why}))

    def _trouble_is_over(self) -> None:
        if self._trouble is None:
            return
        self._trouble = None
        synced = json.dumps({"type": "synced", "sequence": str(self._state.sequence)})
        self._tell("trouble", Message(self._state.sequence, synced))


def _shown(document: Mapping[str, Any]) -> _Shown:
    return _Shown(int(document["metadata"]["resourceVersion"]), _text_of(document, "session"))


def _text_of(document: Mapping[str, Any], kind: str) -> str:
    update = update_of(session_answer(document), kind)
    return update.model_dump_json(by_alias=True)
