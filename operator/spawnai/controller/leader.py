"""Which of several operator processes may act: the one that holds a coordination.k8s.io Lease.

A lease is a promise with an end. The rules that keep two processes from acting at once:

* A holder counts from the moment it *asked* for a renewal that was granted; everyone else counts
  from the moment they *saw* it. Whoever waits therefore always waits longer than the holder acts.
  Each measures on its own monotonic clock; the times written in the Lease are for people.
* The holder renews every `retry` seconds. Once `renew_deadline` seconds have passed since it asked
  for the last granted renewal it acts no more, for ever: `check` raises, `hold` raises, the process
  ends. The others wait for `lease_seconds`; the difference is for calls under way.
* A paused process (SIGSTOP, a machine asleep) finds out by itself, because `check` looks at the
  clocks, not at what a task has noticed. Some machines' monotonic clock stands still while they
  sleep; so the date counts too, where it moved on further.
* Every write names the version of the Lease that it replaces: of two that reach for it, one gets
  it. A write whose answer was lost is settled by reading the Lease again.
* Who knew the holder of a Lease that somebody deleted waits for its end all the same. Only a
  process that just started takes it at once; the old holder finds out at its next renewal.
"""

import asyncio
import logging
import math
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from http import HTTPStatus
from typing import Any, Protocol

from kubernetes.aio.client import ApiClient, CustomObjectsApi
from kubernetes.aio.client.exceptions import ApiException

from spawnai import background
from spawnai.api.durations import format_micro_time
from spawnai.clock import Clock

_LOGGER = logging.getLogger(__name__)

# An attempt that hangs this many `retry` periods is given up and the next one starts at once:
# within the default deadline of 10 s a silent API server is asked three times.
_ATTEMPT_PERIODS = 1.5
_COMPLAINT_SECONDS = 60.0
# How many times as often a candidate looks while the API server cannot be reached.
_LOOKS_WHEN_AWAY = 8
# How often a renewal looks again and repeats within one attempt when the Lease was changed.
_LOOKS_PER_ATTEMPT = 3


class LeadershipLost(Exception):
    """This process may not act: it does not hold the lease, or may not hold it any more."""


class LeaseConflict(Exception):
    """The Lease is not in the version that was to be replaced: read it again."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A Lease as it was read.

    Attributes:
        holder: the identity of who holds it; "" when it was given back.
        seconds: how long others leave it to its holder after a renewal; 0 where it does not say.
        transitions: how many times it changed hands.
        version: the resourceVersion, which changes with every write.
    """

    holder: str
    seconds: float
    transitions: int
    version: str


class Leases(Protocol):
    """The one Lease that is contended for, with optimistic concurrency."""

    async def read(self) -> Lease | None:
        """Return the Lease as it is now (never from a cache), or None where there is none."""
        ...

    async def create(self, holder: str, seconds: float, now: datetime) -> Lease:
        """Make the Lease.

        Raises:
            LeaseConflict: it exists.
        """
        ...

    async def replace(self, known: Lease, holder: str, seconds: float, now: datetime) -> Lease:
        """Write a holder or a renewal over `known`.

        Raises:
            LeaseConflict: the Lease is not `known` any more, or is gone.
        """
        ...


class Leadership:
    """One process's part in the contest: `acquire`, then `hold` while `check` guards every write.

    It leads at most once. After that only a new process, with an identity of its own, leads again.

    Args:
        leases: the Lease.
        identity: who this process is. Only a successor that cannot run beside it, such as the same
            Pod's next container, may bear the same one: it takes the lease over at once.
        clock: measures and dates.
        lease_seconds: how long others wait after they saw the last renewal.
        renew_deadline: after how many seconds without a renewal this process stops acting.
        retry: seconds between renewals, and between looks while another leads.
    """

    def __init__(
        self,
        leases: Leases,
        identity: str,
        clock: Clock,
        *,
        lease_seconds: float = 15,
        renew_deadline: float = 10,
        retry: float = 2,
    ) -> None:
        if not identity:
            raise ValueError("A candidate for the lease needs an identity; got an empty one")
        if not lease_seconds > renew_deadline > retry > 0:
            raise ValueError(
                "Leadership needs lease_seconds > renew_deadline > retry > 0, so that a leader "
                f"stops before another may start; got {lease_seconds}, {renew_deadline}, {retry}"
            )
        self.identity = identity
        self._leases = leases
        self._clock = clock
        self._lease_seconds = lease_seconds
        self._renew_deadline = renew_deadline
        self._retry = retry
        # The Lease as last seen, and since when it has looked like that.
        self._seen: Lease | None = None
        self._seen_at = float("-inf")
        # When the last renewal that was granted had been asked for, by both clocks.
        self._renewal: _Moment | None = None
        # Why this process may never act again, once it may not.
        self._over: str | None = None
        self._released = asyncio.Event()
        # Held while the Lease is being read or written.
        self._busy = asyncio.Lock()
        self._complained_at = float("-inf")

    # --- asking -------------------------------------------------------------------------------

    def check(self) -> None:
        """Return if this process may act at this moment; ask just before every external write.

        Raises:
            LeadershipLost: it may not.
        """
        reason = self._why_not()
        if reason is not None:
            raise LeadershipLost(reason)

    def is_held(self) -> bool:
        """Whether `check` would pass."""
        return self._why_not() is None

    @property
    def leader(self) -> str | None:
        """Who held the lease when it was last seen; None where nobody did."""
        return (self._seen.holder or None) if self._seen is not None else None

    def _why_not(self) -> str | None:
        if self._over is not None:
            return self._over
        if self._renewal is None:
            return f"{self.identity} does not hold the lease"
        if self._runs_too_long(self._renewal):
            return self._over
        on_calendar = (self._clock.utc_now() - self._renewal.date).total_seconds()
        if on_calendar >= self._renew_deadline:
            # The machine slept, or somebody set its clock. The next renewal tells which.
            return (
                f"The date moved on by {on_calendar:.1f} s since {self.identity} renewed the lease;"
                " it must be renewed before anything else is done"
            )
        return None

    def _runs_too_long(self, renewal: "_Moment") -> bool:
        elapsed = self._clock.now() - renewal.monotonic
        if elapsed < self._renew_deadline:
            return False
        # Not a passing doubt: from here on another may lead, so it is remembered.
        self._over = self._over or (
            f"{self.identity} last renewed the lease {elapsed:.1f} s ago; "
            f"after {self._renew_deadline:g} s it may become another's"
        )
        return True

    # --- contending ---------------------------------------------------------------------------

    async def acquire(self) -> None:
        """Return once this process holds the lease, however long that takes.

        An API server that does not answer is asked again, and complained about once a minute.

        Raises:
            LeadershipLost: this process has led before, or `release` was called.
        """
        if self._renewal is not None or self._over is not None:
            raise LeadershipLost(
                self._over or f"{self.identity} holds the lease already; a process leads only once"
            )
        while True:
            began = self._clock.now()
            answered = await self._attempt(self._take, self._retry * _ATTEMPT_PERIODS)
            if self.is_held():
                _LOGGER.info("Leading as %s", self.identity)
                return
            if self._released.is_set():
                raise LeadershipLost(self._over)
            # Granted, but so late that it is no use: nothing was done under it, so ask again.
            self._renewal = self._over = None
            # After an outage sessions wait to be destroyed: its end is to be noticed soon.
            soon = began + self._retry / _LOOKS_WHEN_AWAY
            await self._sleep_until(self._next_look(began) if answered else soon)

    async def hold(self) -> None:
        """Keep the lease renewed; return once `release` is called.

        Raises:
            LeadershipLost: it could not be renewed in time, or another has it. End the process.
        """
        next_attempt = self._clock.now()
        while not self._released.is_set():
            if self._over is not None or self._renewal is None:
                raise LeadershipLost(self._why_not())
            deadline = self._renewal.monotonic + self._renew_deadline
            next_attempt = max(next_attempt, self._renewal.monotonic + self._retry)
            await self._sleep_until(min(next_attempt, deadline), or_event=self._released)
            if self._released.is_set() or self._runs_too_long(self._renewal):
                continue
            began = self._clock.now()
            limit = min(self._retry * _ATTEMPT_PERIODS, deadline - began)
            await self._attempt(self._renew, limit)
            next_attempt = began + self._retry

    async def release(self) -> None:
        """Act no more, and give the lease back, so that another leads at once.

        Call it when everything that writes has ended. It never raises: where the lease cannot be
        given back, it runs out by itself.
        """
        self._over = self._over or f"{self.identity} gave the lease back"
        self._released.set()
        if self._seen is not None:
            await self._attempt(self._give_back, self._retry * _ATTEMPT_PERIODS)

    # --- steps, each bounded in time by _attempt ----------------------------------------------

    async def _take(self) -> None:
        found = await self._look()
        if not self._is_anothers():
            await self._claim(found)

    async def _renew(self) -> None:
        known = self._seen
        for _ in range(_LOOKS_PER_ATTEMPT):
            if self._over is not None:
                return
            try:
                await self._claim(known)
            except LeaseConflict:
                # Another took it; or our last renewal arrived and its answer did not; or someone
                # edited or deleted the Lease. Whoever else may lead is to be known at once.
                known = await self._look()
                if known is not None and known.holder != self.identity:
                    holder = known.holder or "nobody"
                    self._over = f"{self.identity} lost the lease: {holder} holds it"
            else:
                return

    async def _claim(self, known: Lease | None) -> None:
        """Write this process as the holder over `known`; the lease counts from before the call."""
        # The monotonic clock first: a pause between the two then counts as elapsed.
        asked = _Moment(self._clock.now(), self._clock.utc_now())
        if known is None:
            lease = await self._leases.create(self.identity, self._lease_seconds, asked.date)
        else:
            lease = await self._leases.replace(
                known, self.identity, self._lease_seconds, asked.date
            )
        self._seen, self._seen_at = lease, self._clock.now()
        self._renewal = asked

    async def _give_back(self) -> None:
        # Read first: a lease whose grant was never heard of is given back too.
        found = await self._look()
        if found is not None and found.holder == self.identity:
            # For one second instead of ours, as client-go does: whoever does not know what an
            # empty holder means takes it soon as well.
            self._seen = await self._leases.replace(found, "", 1, self._clock.utc_now())

    async def _attempt(self, step: Callable[[], Awaitable[None]], limit_seconds: float) -> bool:
        """Whether the API server answered."""
        try:
            async with asyncio.timeout(limit_seconds), self._busy:
                await step()
        except LeaseConflict as error:
            _LOGGER.debug("Another was quicker at the lease: %s", error)
            return True
        except TimeoutError:
            self._complain(f"the API server did not answer within {limit_seconds:.1f} s")
        except Exception as error:  # noqa: BLE001 - whatever went wrong, the deadline decides
            self._complain(str(error) or type(error).__name__)
        else:
            self._complained_at = float("-inf")
            return True
        return False

    # --- inside -------------------------------------------------------------------------------

    async def _look(self) -> Lease | None:
        found = await self._leases.read()
        # A Lease that was deleted keeps its holder for the time it had: whoever holds it acts on.
        if found is not None and (self._seen is None or found.version != self._seen.version):
            if found.holder not in ("", self.identity, self.leader):
                _LOGGER.info("%s leads; %s waits", found.holder, self.identity)
            self._seen, self._seen_at = found, self._clock.now()
        return found

    def _is_anothers(self) -> bool:
        return (
            self._seen is not None
            and self._seen.holder not in ("", self.identity)
            and self._clock.now() < self._runs_out(self._seen)
        )

    def _runs_out(self, seen: Lease) -> float:
        return self._seen_at + (seen.seconds or self._lease_seconds)

    def _next_look(self, began: float) -> float:
        """When to try again: after the usual time, but not later than the lease runs out."""
        usual = began + self._retry
        if self._seen is not None and self._is_anothers():
            return min(usual, self._runs_out(self._seen))
        return usual

    async def _sleep_until(self, moment: float, or_event: asyncio.Event | None = None) -> None:
        delay = moment - self._clock.now()
        if delay <= 0:
            # Others run in between, whatever the times are.
            await asyncio.sleep(0)
            return
        if or_event is None:
            await self._clock.sleep(delay)
            return
        await background.first_of(self._clock.sleep(delay), or_event.wait())

    def _complain(self, what: str) -> None:
        now = self._clock.now()
        if now - self._complained_at >= _COMPLAINT_SECONDS:
            self._complained_at = now
            _LOGGER.warning("The lease could not be read or written, trying on: %s", what)


@dataclass(frozen=True, slots=True)
class _Moment:
    monotonic: float
    date: datetime


class LeaseUnavailable(Exception):
    """The API server did not do what was asked about the Lease."""


class KubernetesLeases:
    """The Lease in a Kubernetes API server.

    Needs the verbs get, create and patch on `leases` in that namespace.

    Args:
        api_client: a client that is logged in.
        namespace: where the Lease is.
        name: what the Lease is called; one for each installation.
    """

    def __init__(self, api_client: ApiClient, namespace: str, name: str) -> None:
        # The generic client, because a Lease needs its times with exactly six decimals (MicroTime),
        # which the generated models leave out when they are zero.
        self._objects = CustomObjectsApi(api_client)
        self._namespace = namespace
        self._name = name
        self._where: dict[str, Any] = {
            "group": "coordination.k8s.io",
            "version": "v1",
            "namespace": namespace,
            "plural": "leases",
        }

    async def read(self) -> Lease | None:
        """See `Leases`."""
        try:
            body = await self._objects.get_namespaced_custom_object(name=self._name, **self._where)
        except ApiException as error:
            if error.status == HTTPStatus.NOT_FOUND:
                return None
            raise self._unavailable("get", error) from error
        return _lease_of(body)

    async def create(self, holder: str, seconds: float, now: datetime) -> Lease:
        """See `Leases`."""
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": {
                "holderIdentity": holder,
                "leaseDurationSeconds": math.ceil(seconds),
                "acquireTime": format_micro_time(now),
                "renewTime": format_micro_time(now),
                "leaseTransitions": 0,
            },
        }
        try:
            made = await self._objects.create_namespaced_custom_object(body=body, **self._where)
        except ApiException as error:
            if error.status == HTTPStatus.CONFLICT:
                raise LeaseConflict(f"{self._name} was made by another") from error
            raise self._unavailable("create", error) from error
        return _lease_of(made)

    async def replace(self, known: Lease, holder: str, seconds: float, now: datetime) -> Lease:
        """See `Leases`."""
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": math.ceil(seconds),
            "renewTime": format_micro_time(now),
        }
        if holder not in ("", known.holder):
            spec["acquireTime"] = format_micro_time(now)
            spec["leaseTransitions"] = known.transitions + 1
        # A patch leaves alone what others wrote on the Lease; the version makes it conditional.
        body = {"metadata": {"resourceVersion": known.version}, "spec": spec}
        try:
            written = await self._objects.patch_namespaced_custom_object(
                name=self._name,
                body=body,
                _content_type="application/merge-patch+json",
                **self._where,
            )
        except ApiException as error:
            if error.status in (HTTPStatus.CONFLICT, HTTPStatus.NOT_FOUND):
                raise LeaseConflict(f"{self._name} is no more what it was") from error
            raise self._unavailable("patch", error) from error
        return _lease_of(written)

    def _unavailable(self, verb: str, error: ApiException) -> LeaseUnavailable:
        advice = ""
        if error.status == HTTPStatus.FORBIDDEN:
            advice = f"; grant the verb {verb!r} on leases.coordination.k8s.io in that namespace"
        return LeaseUnavailable(
            f"Cannot {verb} the Lease {self._namespace}/{self._name}: "
            f"{error.status} {error.reason}{advice}"
        )


def _lease_of(body: Any) -> Lease:
    """Read a Lease, also one that somebody left half empty."""
    spec = body.get("spec") or {}
    return Lease(
        holder=spec.get("holderIdentity") or "",
        seconds=float(spec.get("leaseDurationSeconds") or 0),
        transitions=int(spec.get("leaseTransitions") or 0),
        version=body["metadata"]["resourceVersion"],
    )
