"""What must be true of budgets in every story: never one cent over, and nothing left unused.

A budget is held when, at the first thing that is made or paid for a session, all that was begun and
this session are within the limit together: what lives with what it has reserved, what has ended
with what it cost. What an operator cannot have seen yet, such as a limit lowered a moment ago, is
no fault of its.
"""

from collections.abc import Callable
from decimal import Decimal

from spawnai.api.record import RecordSpec, RecordStatus

from .api_server import ApiServer, Body

SEEN_SECONDS = 10.0
"""How late a watch may show that a limit was changed."""

_NO_LIMIT = Decimal("Infinity")


class Money:
    """Watches one budget that selects every session."""

    def __init__(
        self, now: Callable[[], float], blame: Callable[[str], None], *, exact: bool
    ) -> None:
        """`exact`: no clock moves in this story, so costs are what they should be."""
        self._exact = exact
        self._now = now
        self._blame = blame
        self._limits: list[tuple[float, Decimal]] = [(0.0, _NO_LIMIT)]
        self._ordered: dict[str, float] = {}
        self._begun: set[str] = set()
        self._reserved: dict[str, Decimal] = {}
        self.server: ApiServer

    def begins(self, uid: str) -> None:
        """Something is made or paid for a session."""
        if uid in self._begun or len(self._limits) == 1:
            self._begun.add(uid)
            return
        self._begun.add(uid)
        self._is_held(uid, since=self._ordered.get(uid, self._now()) - SEEN_SECONDS)

    def changed(self, kind: str, before: Body | None, after: Body | None) -> None:
        """A budget or a ledger was written."""
        if kind == "budget":
            limit = _NO_LIMIT if after is None else Decimal(after["spec"]["limit"])
            if limit != self._limits[-1][1]:
                self._limits.append((self._now(), limit))
        elif kind == "record" and after is not None and "spare" not in after["spec"]:
            uid = after["metadata"]["name"]
            if before is None:
                self._ordered[uid] = self._now()
            reserved, known = _reserved(after), self._reserved.get(uid)
            self._reserved[uid] = reserved
            if known is not None and reserved > known and uid in self._begun:
                self._is_held(uid, since=self._now() - SEEN_SECONDS)
            self._keeps_to_it(uid, after, reserved)

    def has_room_for(self, amount: Decimal) -> bool:
        """Whether that much is neither used nor reserved by anybody."""
        used = sum((_amount(body) for body in self.server.all("record")), Decimal(0))
        return used + amount <= self._limits[-1][1]

    def _is_held(self, uid: str, since: float) -> None:
        limit = self._greatest_since(since)
        amounts = {
            body["metadata"]["name"]: _amount(body)
            for body in self.server.all("record")
            if body["metadata"]["name"] in self._begun
        }
        total = sum(amounts.values(), Decimal(0))
        if total > limit:
            self._blame(f"budget of {limit} is exceeded by {uid}: {total} are used or reserved")

    def _keeps_to_it(self, uid: str, body: Body, reserved: Decimal) -> None:
        """No session costs more than it has reserved."""
        status = RecordStatus.model_validate(body.get("status") or {})
        if status.total_cost is None or not reserved or not self._exact:
            return
        if Decimal(status.total_cost) > reserved:
            self._blame(f"{uid} cost {status.total_cost}, more than the {reserved} it had reserved")

    def _greatest_since(self, moment: float) -> Decimal:
        """The greatest limit that held at some time since then."""
        held = [limit for at, limit in self._limits if at >= moment]
        before = [limit for at, limit in self._limits if at < moment]
        return max([*held, before[-1]] if before else held)


def _reserved(body: Body) -> Decimal:
    spec = RecordSpec.model_validate(body["spec"])
    status = RecordStatus.model_validate(body.get("status") or {})
    return Decimal(status.reserved or spec.reserved or 0)


def _amount(body: Body) -> Decimal:
    status = RecordStatus.model_validate(body.get("status") or {})
    if status.completed_at is not None:
        return Decimal(status.total_cost or 0)
    return _reserved(body)
