"""From a status that was written to notices in the channels that the session's class names."""

from collections.abc import Callable

from spawnai.api.session import SessionStatus
from spawnai.api.spawnclass import NoticeEvent
from spawnai.clock import Clock
from spawnai.lifecycle.observation import Session
from spawnai.notices.decide import news
from spawnai.notices.messages import Notice
from spawnai.notices.sender import NoticeSender

from .store import Store, StoredBudget

TellUsers = Callable[[Session, SessionStatus], None]
"""Told after each status write: the session as it was, and its new status."""


class UserNotices:
    """Tells users what a status write has changed. Never waits, never fails."""

    def __init__(self, sender: NoticeSender, store: Store, clock: Clock) -> None:
        self._sender = sender
        self._store = store
        self._clock = clock

    def tell(self, session: Session, status: SessionStatus) -> None:
        """The API server has stored this status of the session."""
        class_name = self._store.class_of(session)
        stored = self._store.spawn_class(class_name) if class_name is not None else None
        if stored is None or stored.spec is None or not stored.spec.notices:
            return
        cost = status.cost
        for one in news(session.name, session.status, status):
            notice = Notice(
                uid=session.uid,
                namespace=session.namespace,
                name=session.name,
                event=one.event,
                marker=one.marker,
                title=one.title,
                message=one.message,
                at=self._clock.utc_now(),
                url=status.url,
                cost=(cost.actual or cost.estimated) if cost is not None else None,
            )
            self._sender.send(stored.name, stored.spec.notices, notice)

    def tell_of_budget(self, budget: StoredBudget, title: str, message: str) -> None:
        """A warning of a budget, in the channels of the classes whose sessions it pays for."""
        chosen = budget.spec.selector.classes
        for stored in self._store.classes():
            if stored.spec is None or not stored.spec.notices:
                continue
            if chosen and stored.name not in chosen:
                continue
            notice = Notice(
                uid=budget.uid,
                namespace="",
                name=budget.name,
                event=NoticeEvent.BUDGET,
                marker=f"{budget.name} {self._clock.utc_now().isoformat()}",
                title=title,
                message=message,
                at=self._clock.utc_now(),
            )
            self._sender.send(stored.name, stored.spec.notices, notice)
