"""The dead man's switch: past its time, the droplet powers itself off, whatever else happens.

It runs as a unit of its own, which listens at no port and shares no limit with the agent, the app
or Caddy. Time is counted by a clock that nobody can set (CLOCK_BOOTTIME): a date that jumps moves
nothing. What is left is written down; after a reboot the date says how long the droplet was off,
and since a clock may be wrong until it has been set, a life that only the date says is over gets a
little longer (`clock_settle_seconds`).

    session.json    the first deadline: a date, and how long after the order that is. Where a
                    session took over a spare, the agent wrote its Expiry there
    expiry.json     the operator's last word (Expiry, written by the agent)
    switch.json     what this knows and has promised (Promise, written here)
"""

import contextlib
import ctypes
import json
import os
import subprocess
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TypeVar

from .settings import Machine, Session
from .state import complain, tell_systemd, write_atomically

LOOK_SECONDS = 0.2
SAVE_SECONDS = 30.0
AGAIN_SECONDS = 10.0
RB_POWER_OFF = 0x4321FEDC  # reboot(2)
WORDS = (("session.json", "expiry"), ("expiry.json", None))  # where the operator's stand


@dataclass(frozen=True, slots=True)
class Expiry:
    """What the operator said, and when the agent heard it."""

    number: int
    expires_at: float
    lifetime_seconds: float
    grace_seconds: float
    heard_at: float
    boot: str


@dataclass(frozen=True, slots=True)
class Promise:
    """What the switch goes by. `deadline` is on the clock of the boot `boot`, grace included."""

    number: int
    expires_at: float
    deadline: float
    boot: str
    left_seconds: float
    saved_at: float
    is_certain: bool = True
    """Whether `deadline` is known without believing a date that may be wrong."""


Document = TypeVar("Document", Expiry, Promise)


def read(path: Path, kind: type[Document], part: str | None = None) -> Document | None:
    """What was written, or a part of it; None where there is nothing that can be read."""
    try:
        document = json.loads(path.read_text("utf-8"))
        return kind(**(document if part is None else document[part]))
    except (OSError, ValueError, TypeError, KeyError):
        return None


def write(path: Path, document: "Expiry | Promise") -> None:
    """Write it down."""
    write_atomically(path, json.dumps(asdict(document)))


def boot_name(machine: Machine) -> str:
    """Another one after each boot. Machines of the local cloud share the kernel of their host."""
    return machine.boot_id or Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def now() -> float:
    """Seconds on the clock that nobody can set."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


# --- Deciding, without a clock of its own -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class Moment:
    """What the clocks say: the one that nobody can set, the date, and which boot this is."""

    clock: float
    date: float
    boot: str

    def promise(self, number: int, expires_at: float, left: float) -> Promise:
        """So much is left from now on."""
        return Promise(number, expires_at, self.clock + left, self.boot, left, self.date)


def first_promise(session: Session, at: Moment) -> Promise:
    """From what the operator decided before the droplet was born."""
    left = session.lifetime_seconds
    if left is None:
        left = session.expires_at - at.date
    return at.promise(0, session.expires_at, left + session.grace_seconds)


def promise_after_reboot(old: Promise, at: Moment) -> Promise:
    """The date says how long it was off; a clock that went back says nothing."""
    off = max(0.0, at.date - old.saved_at)
    made = at.promise(old.number, old.expires_at, old.left_seconds - off)
    return made if off == 0 or old.left_seconds <= 0 else replace(made, is_certain=False)


def promise_without_memory(session: Session, at: Moment) -> Promise:
    """What was promised cannot be read: the first date holds, so a life gets no longer by this."""
    return at.promise(0, session.expires_at, session.expires_at + session.grace_seconds - at.date)


def promise_for(expiry: Expiry, at: Moment) -> Promise:
    """The operator's word, from when it was heard."""
    heard_at = expiry.heard_at if expiry.boot == at.boot else at.clock
    left = heard_at + expiry.lifetime_seconds + expiry.grace_seconds - at.clock
    return at.promise(expiry.number, expiry.expires_at, left)


def is_over(made: Promise, *, clock: float, up_seconds: float, settle_seconds: float) -> bool:
    """Whether the droplet has to go."""
    return clock >= made.deadline and (made.is_certain or up_seconds >= settle_seconds)


# --- Doing ------------------------------------------------------------------------------------


class Switch:
    """Watches the time, and ends it."""

    def __init__(self, base: Path) -> None:
        self._base = base
        self._session = Session.read(base / "session.json")
        document = json.loads((base / "session.json").read_text("utf-8"))
        self._machine = Machine.read(base / "machine.env", document)
        self._boot = boot_name(self._machine)
        self._started = now()
        self._seen: dict[str, tuple[int, int]] = {}
        self._saved = 0.0
        self._promise = self._begin()
        self._save()

    def run(self) -> None:
        """Until the droplet's time is over; then power off until it is."""
        while not is_over(
            self._promise,
            clock=now(),
            up_seconds=now() - self._started,
            settle_seconds=self._machine.clock_settle_seconds,
        ):
            tell_systemd("WATCHDOG=1")
            self._listen()
            if now() >= self._saved + SAVE_SECONDS:
                self._save()
            time.sleep(LOOK_SECONDS)
        self._end()

    def _begin(self) -> Promise:
        path = self._base / "switch.json"
        old = read(path, Promise)
        if old is None:
            make = promise_without_memory if path.exists() else first_promise
            return make(self._session, self._moment())
        return old if old.boot == self._boot else promise_after_reboot(old, self._moment())

    def _moment(self) -> Moment:
        return Moment(now(), time.time(), self._boot)

    def _listen(self) -> None:
        """Take in what the agent wrote down since the last look."""
        for name, part in WORDS:
            path = self._base / name
            try:
                facts = path.stat()
            except OSError:
                continue
            if self._seen.get(name) == (facts.st_mtime_ns, facts.st_ino):
                continue
            self._seen[name] = facts.st_mtime_ns, facts.st_ino
            expiry = read(path, Expiry, part)
            if expiry is not None and expiry.number > self._promise.number:
                self._promise = promise_for(expiry, self._moment())
                self._save()

    def _save(self) -> None:
        self._saved = now()
        left = self._promise.deadline - now()
        self._promise = replace(self._promise, left_seconds=left, saved_at=time.time())
        try:
            write(self._base / "switch.json", self._promise)
        except OSError as error:  # a full disk; what is in memory holds
            complain(f"switch.json cannot be written: {error}")

    def _end(self) -> None:
        command = self._machine.poweroff_command.split()
        for number in range(10**9):
            tell_systemd("WATCHDOG=1")
            complain("the time of this droplet is over; it powers off")
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                subprocess.run(command, timeout=30, check=False)
            time.sleep(AGAIN_SECONDS)
            # Still here: then without waiting for the units that hold it up, then without systemd.
            command = [*self._machine.poweroff_command.split(), "--force"]
            if number > 0 and self._machine.run_app_with == "systemd":
                os.sync()
                ctypes.CDLL(None).reboot(RB_POWER_OFF)
