"""What one session learns of a region, the others of its class need not find out."""

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

from spawnai.api.record import LedgerEntry, Presence, ResourceKind
from spawnai.controller.regions import Regions
from spawnai.lifecycle.observation import Failure, FailureKind

START = datetime(2026, 11, 29, tzinfo=UTC)


class Time:
    seconds = 0.0

    def now(self) -> float:
        return self.seconds

    def utc_now(self) -> datetime:
        return START + timedelta(seconds=self.seconds)

    async def sleep(self, seconds: float) -> None:
        raise AssertionError(seconds)


def droplet(number: int, region: str, presence: Presence = Presence.PRESENT) -> LedgerEntry:
    return LedgerEntry(
        kind=ResourceKind.DROPLET,
        id=str(number),
        name=f"spawn-{number}",
        region=region,
        created_at=START,
        presence=presence,
    )


def record(class_name: str, *lines: LedgerEntry, closed: bool = False) -> SimpleNamespace:
    status = SimpleNamespace(completed_at=START if closed else None, resources=list(lines))
    return SimpleNamespace(spec=SimpleNamespace(class_name=class_name), status=status)


def regions(*records: SimpleNamespace) -> tuple[Regions, Time]:
    clock = Time()
    return Regions(SimpleNamespace(records=lambda: records), clock), clock


def test_a_refusal_holds_for_its_class_and_for_a_minute():
    known, clock = regions()
    failure = Failure(FailureKind.NO_CAPACITY, "NoCapacity", "no room", START)
    known.refuse("standard", ("nyc3", "s-1vcpu-1gb"), failure)
    assert known.refused("standard") == {("nyc3", "s-1vcpu-1gb"): failure}
    assert known.refused("another") == {}
    clock.seconds = 59
    assert known.refused("standard")
    clock.seconds = 60
    assert known.refused("standard") == {}


def test_what_lives_is_counted_by_region_and_class():
    known, _ = regions(
        record("standard", droplet(1, "nyc3"), droplet(2, "ams3", Presence.GONE)),
        record("standard", droplet(3, "nyc3")),
        record("standard", droplet(4, "nyc3"), closed=True),
        record("another", droplet(5, "sfo3")),
    )
    assert known.load("standard") == {"nyc3": 2}
    assert known.load("another") == {"sfo3": 1}
    assert known.load("nobody") == {}
