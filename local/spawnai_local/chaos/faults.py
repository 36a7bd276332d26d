"""What may go wrong at a call, and which of it exists for which call."""

from enum import StrEnum

from spawnai_local.chaos.calls import Call, Edge


class Fault(StrEnum):
    """The eight faults of every boundary."""

    KILLED_BEFORE = "killed-before"
    """The operator is killed (SIGKILL) when the call has left it; it never arrives."""
    KILLED_AFTER = "killed-after"
    """The operator is killed when the call has taken effect; its answer is never read."""
    TOO_MANY = "429"
    """Refused: too many requests. Nothing has happened."""
    ERROR_BEFORE = "500-before"
    """Answered with 500; nothing has happened."""
    ERROR_AFTER = "500-after"
    """Answered with 500, although it has happened."""
    TIMEOUT_AFTER = "timeout-after"
    """It happens; no answer comes within the caller's time limit."""
    CUT = "cut"
    """It happens; the connection breaks before the answer."""
    SLOW = "slow"
    """It happens at once; the right answer comes some seconds late."""


KILLS = frozenset({Fault.KILLED_BEFORE, Fault.KILLED_AFTER})
AFTER_AN_EFFECT = frozenset({Fault.KILLED_AFTER, Fault.ERROR_AFTER})
"""For a read, which has no effect, these are the same as the ones before it."""

WITHOUT_EFFECT = frozenset({Fault.KILLED_BEFORE, Fault.TOO_MANY, Fault.ERROR_BEFORE})
"""What keeps a call from taking effect."""

SLOW_SECONDS = 3.0
RETRY_AFTER_SECONDS = 2
"""What a 429 asks for."""

CALLER_SECONDS = {
    Edge.DIGITALOCEAN: 20.0,
    Edge.CLAUDE: 60.0,
    Edge.AGENT: 12.0,
    Edge.API_SERVER: 10.0,
    Edge.ACME: 10.0,
}
"""How long the operator waits for an answer (digitalocean/client.py, generation/claude.py,
droplet/client.py, controller/cluster.py, acme/client.py)."""

SILENCE_SECONDS = 90.0
"""How long an answer is held back: longer than any time limit of the operator for one call."""

OF_CLAUDE = {
    Fault.TOO_MANY: "rate-limited",
    Fault.ERROR_BEFORE: "server-error",
    Fault.ERROR_AFTER: "overloaded-mid-stream",
    Fault.TIMEOUT_AFTER: "hang-mid-stream",
    Fault.CUT: "connection-cut",
    Fault.SLOW: "slow",
}
"""An answer of Claude is a stream: what goes wrong after the effect goes wrong half through it. The
simulator's own faults, because it must bill what it wrote."""


def possible(call: Call) -> tuple[Fault, ...]:
    """The faults that exist for a call."""
    return tuple(fault for fault in Fault if call.writes or fault not in AFTER_AN_EFFECT)
