"""Apps whose session was deleted: their receipts, from the console's history."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import urlencode

from kubectl_spawn.app import ORDERLY_ENDS, App, State, decimal
from kubectl_spawn.cluster import Cluster, Object
from kubectl_spawn.console import find_console
from kubectl_spawn.durations import format_time, parse_time
from kubectl_spawn.errors import CommandError

NEVER = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Search:
    """Which ended apps are asked for; what is None does not matter. `text`: a part of the name."""

    user: str | None = None
    class_name: str | None = None
    since: datetime | None = None
    text: str | None = None

    def finds(self, app: App) -> bool:
        """Whether a session that is still there is one of them, as the history would say."""
        return (
            (self.user is None or (app.spec.get("user") or app.namespace) == self.user)
            and (self.class_name is None or app.class_name == self.class_name)
            and (self.text is None or self.text in app.name)
            and (self.since is None or (app.ended or NEVER) >= self.since)
        )


@dataclass(frozen=True, slots=True)
class Receipt:
    """What is left of an app that ended, told as an `App` is. `document` is the history's own."""

    document: Object

    @property
    def uid(self) -> str:
        """The UID of its session."""
        return str(self.document.get("uid") or "")

    @property
    def namespace(self) -> str:
        """The namespace of its session."""
        return str(self.document.get("namespace") or "")

    @property
    def name(self) -> str:
        """The name of its session."""
        return str(self.document.get("name") or "")

    @property
    def class_name(self) -> str:
        """The class that served it."""
        return str(self.document.get("className") or "")

    @property
    def created(self) -> datetime | None:
        """When it was ordered."""
        return parse_time(self.document.get("createdAt"))

    @property
    def ended(self) -> datetime | None:
        """When all of it had been seen gone."""
        return parse_time(self.document.get("completedAt"))

    @property
    def reason(self) -> str:
        """Why it ended, in one word."""
        return str(self.document.get("terminationReason") or "")

    @property
    def state(self) -> State:
        """Ended, or failed."""
        return State.ENDED if self.reason in ORDERLY_ENDS else State.FAILED

    @property
    def server_cost(self) -> Decimal | None:
        """Dollars for the server."""
        return decimal(self.document.get("serverCost"))

    @property
    def claude_cost(self) -> Decimal | None:
        """Dollars for Claude."""
        return decimal(self.document.get("claudeCost"))

    def cost_so_far(self, now: datetime) -> Decimal | None:
        """Dollars in all."""
        del now
        return decimal(self.document.get("totalCost"))

    @property
    def cost_in_all(self) -> Decimal | None:
        """The estimate, which no receipt keeps."""
        return None

    @property
    def price(self) -> Decimal | None:
        """What its user was charged, which no receipt keeps."""
        return None


@dataclass(frozen=True, slots=True)
class History:
    """Receipts by UID, and a sentence for what may be missing; empty when nothing is."""

    receipts: dict[str, Receipt]
    missing: str = ""

    def of_deleted(self, apps: Iterable[App]) -> list[Receipt]:
        """The receipts of those that are not among the sessions that are still there."""
        there = {app.uid for app in apps}
        return [one for uid, one in self.receipts.items() if uid not in there]


def read_history(cluster: Cluster, search: Search, *, all_namespaces: bool = False) -> History:
    """The receipts of this namespace, or of all; without a console none, and why."""
    place = {"allNamespaces": "true"} if all_namespaces else {"namespace": cluster.namespace}
    given = {
        **place,
        "user": search.user,
        "class": search.class_name,
        "search": search.text,
        "since": format_time(search.since) if search.since else None,
    }
    query = urlencode({name: value for name, value in given.items() if value})
    try:
        answer = find_console(cluster).json(f"/api/history?{query}")
        found = [Receipt(one) for one in answer["items"]]
        missing = answer.get("notice") or ("older ones are left out" if answer.get("more") else "")
    except CommandError as error:
        cause = f": {error.cause}" if error.cause else ""
        return History({}, f"apps that were deleted are missing: {error.what}{cause}")
    except (KeyError, TypeError, AttributeError):
        return History({}, "apps that were deleted are missing: the console tells no history")
    return History({one.uid: one for one in found}, str(missing))
