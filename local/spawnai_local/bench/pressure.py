"""What became of many sessions that ended in one minute, against DigitalOcean's calls a minute."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from http import HTTPStatus

from spawnai_local.bench.emulator import Call, count_by_endpoint
from spawnai_local.bench.figures import Figure
from spawnai_local.bench.machine import Noise

ALLOWED_A_MINUTE = 250
"""DigitalOcean's limit for one token."""
MINUTE = 60.0
DELETE_DROPLET = "DELETE /v2/droplets/{droplet_id}"
_CALLS_FOR_EACH = 2  # the name and the droplet


@dataclass(frozen=True, slots=True)
class Storm:
    """How so many sessions ended. Times are seconds; those of sessions count from their expiry."""

    sessions: int
    last_deletion: float
    """From the first expiry to the last accepted deletion."""
    ideal_last_deletion: float
    others: Counter[str]
    """What else was called until then, by minute: "1. GET /v2/droplets" in the first minute, 0. in
    the one before it."""
    unused: tuple[float, ...]
    """The share of the allowed calls that was not used, in the minute that ends at each second."""
    accepted: tuple[float, ...]
    until_destroyed: tuple[float, ...]
    refused: int
    sent_twice: int
    lost: int
    orders: int
    silent_orders: int
    early_orders: int
    calls: Counter[str]
    noise: Noise

    def figures(self) -> list[Figure]:
        """The figures of the table."""
        title = f"{self.sessions} sessions end in one minute"
        return [
            Figure(
                f"{title}: last deletion accepted ÷ ideal",
                "",
                (self.last_deletion / self.ideal_last_deletion,),
                1 / 0.95,
                remark=f"{self.last_deletion:.0f} s after the first expiry, at best "
                f"{self.ideal_last_deletion:.0f} s: two deletions for each session, none before "
                f"its expiry, {ALLOWED_A_MINUTE} calls in any minute; other calls until then, by "
                f"minute: {self._other_calls()}; {self.noise.words()}",
            ),
            Figure(
                f"{title}: share of the allowed calls left unused, each minute meanwhile",
                "%",
                tuple(share * 100 for share in self.unused),
                5,
            ),
            Figure(f"{title}: calls refused (429)", "", (float(self.refused),), 0),
            Figure(f"{title}: deletions sent twice", "", (float(self.sent_twice),), 0),
            Figure(f"{title}: deletions lost", "", (float(self.lost),), 0),
            Figure(
                f"{title}: orders meanwhile that did not wait or did not say so",
                "",
                (float(self.silent_orders + self.early_orders),),
                0,
                remark=f"{self.orders} sessions were ordered while deletions took all calls",
            ),
            Figure("beside it: expiry → droplet delete accepted", "s", self.accepted),
            Figure(
                "beside it: expiry → all seen gone (phase Destroyed)",
                "s",
                self.until_destroyed,
                remark="calls: "
                + ", ".join(f"{number} {what}" for what, number in self.calls.most_common()),
            ),
        ]

    def _other_calls(self) -> str:
        return (
            ", ".join(f"{what} ({number})" for what, number in sorted(self.others.items()))
            or "none"
        )


def storm_of(
    ends: Mapping[str, float],
    calls: Sequence[Call],
    *,
    destroyed: Mapping[str, float],
    orders: set[str],
    said_so: set[str],
    noise: Noise,
) -> Storm:
    """Read the story from the emulator's log.

    Args:
        ends: when each session's time was over, epoch seconds by UID.
        calls: all calls from a minute before the first of them on.
        destroyed: when each was seen destroyed, epoch seconds by UID.
        orders: the UIDs of sessions that were ordered meanwhile.
        said_so: those of them that said that they wait for their turn.
        noise: how busy the machine was.
    """
    first = min(ends.values())
    deletions: dict[str, list[Call]] = {}
    for call in calls:
        if call.endpoint.startswith("DELETE") and call.session in ends:
            deletions.setdefault(call.path, []).append(call)
    accepted = {
        call.session: call.answered_at
        for sent in deletions.values()
        for call in sent
        if call.endpoint == DELETE_DROPLET and call.status == HTTPStatus.NO_CONTENT
    }
    counted = [
        [call for call in sent if call.status != HTTPStatus.TOO_MANY_REQUESTS]
        for sent in deletions.values()
    ]
    done = [call for sent in counted for call in sent if call.status == HTTPStatus.NO_CONTENT]
    last = max((call.received_at for call in done), default=first)
    earliest_order = min(
        (
            call.received_at
            for call in calls
            if call.session in orders and call.endpoint == "POST /v2/droplets"
        ),
        default=last,
    )
    due = [end - first for end in ends.values() for _ in range(_CALLS_FOR_EACH)]
    before = [
        call.received_at - first for call in calls if first - MINUTE < call.received_at < first
    ]
    others = Counter(
        f"{int((call.received_at - first) // MINUTE) + 1}. {call.endpoint}"
        for call in calls
        if first - MINUTE < call.received_at <= last and not call.endpoint.startswith("DELETE")
    )
    calls = [call for call in calls if call.received_at >= first]
    return Storm(
        sessions=len(ends),
        last_deletion=last - first,
        ideal_last_deletion=ideal_seconds(due, before),
        others=others,
        unused=unused_shares([call.received_at for call in calls], first, last),
        accepted=tuple(at - ends[uid] for uid, at in accepted.items() if uid is not None),
        until_destroyed=tuple(destroyed[uid] - end for uid, end in ends.items()),
        refused=sum(call.status == HTTPStatus.TOO_MANY_REQUESTS for call in calls),
        sent_twice=sum(len(sent) > 1 for sent in counted),
        lost=_CALLS_FOR_EACH * len(ends) - len(done),
        orders=len(orders),
        silent_orders=len(orders - said_so),
        early_orders=int(earliest_order < last),
        calls=count_by_endpoint(calls),
        noise=noise,
    )


def ideal_seconds(
    due: Sequence[float], before: Sequence[float] = (), allowed: int = ALLOWED_A_MINUTE
) -> float:
    """When the last of these calls can go at the earliest: none before it is due, and only so many
    in any minute, counting those that were made just `before`.
    """
    sent = sorted(before)
    for moment in sorted(due):
        free = sent[-allowed] + MINUTE if len(sent) >= allowed else moment
        sent.append(max(moment, free))
    return sent[-1]


def unused_shares(moments: Sequence[float], first: float, last: float) -> tuple[float, ...]:
    """For each second from one minute after `first` to `last`: the share of the minute before it
    that these calls left unused.
    """
    ordered = sorted(moments)
    shares: list[float] = []
    begin = end = 0
    for second in range(int(last - first - MINUTE) + 1):
        until = first + MINUTE + second
        while end < len(ordered) and ordered[end] <= until:
            end += 1
        while begin < end and ordered[begin] <= until - MINUTE:
            begin += 1
        shares.append(1 - min(end - begin, ALLOWED_A_MINUTE) / ALLOWED_A_MINUTE)
    return tuple(shares)
