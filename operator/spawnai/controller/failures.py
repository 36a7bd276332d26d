"""Turns what the adapters raise into failures that a plan understands, in one place."""

from collections.abc import Mapping
from datetime import datetime

from spawnai.acme import errors as acme
from spawnai.digitalocean import errors as digitalocean
from spawnai.droplet.client import AgentError, AgentRejected, AgentUntrusted
from spawnai.generation import errors as generation
from spawnai.lifecycle.observation import Failure, FailureKind

from .cluster import ClusterError


class NotYet(Exception):
    """Looked, and it is not so yet: look again. Its text is for people."""


class CreationErrored(NotYet):
    """What was ordered could not be made: it is to be deleted, and made again."""


class NotOurs(NotYet):
    """What is to be deleted does not show that it is ours: a person has to look at it."""


class SessionFailed(Exception):
    """The session cannot go on, for a reason its owner should read."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


class NeedsPerson(Exception):
    """It goes on once a person has changed something; the text says what."""

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message)
        self.reason = reason


_KINDS: Mapping[type[Exception], FailureKind] = {
    digitalocean.Ambiguous: FailureKind.AMBIGUOUS,
    digitalocean.AlreadyExists: FailureKind.AMBIGUOUS,  # perhaps by a POST thought to be lost
    digitalocean.NoCapacity: FailureKind.NO_CAPACITY,
    digitalocean.UnknownOption: FailureKind.UNKNOWN_OPTION,
    digitalocean.OverQuota: FailureKind.OVER_QUOTA,
    digitalocean.Unauthorized: FailureKind.NEEDS_PERSON,
    generation.GenerationUnauthorized: FailureKind.NEEDS_PERSON,
    generation.GenerationNoCredit: FailureKind.NEEDS_PERSON,
    generation.GenerationRefused: FailureKind.FINAL,
    generation.GenerationTruncated: FailureKind.FINAL,
    generation.GenerationInvalid: FailureKind.FINAL,
    generation.GenerationRejected: FailureKind.FINAL,
    acme.AcmeLimited: FailureKind.OVER_QUOTA,
    acme.AcmeRefused: FailureKind.NEEDS_PERSON,
    acme.AccountRefused: FailureKind.NEEDS_PERSON,
    NotOurs: FailureKind.NEEDS_PERSON,
    AgentUntrusted: FailureKind.TRANSIENT,
    AgentRejected: FailureKind.TRANSIENT,
}

_REASONS: Mapping[type[Exception], str] = {
    digitalocean.Unauthorized: "DigitalOceanUnauthorized",
    digitalocean.RateLimited: "DigitalOceanRateLimited",
    digitalocean.OverQuota: "WaitingForDropletLimit",
    digitalocean.Ambiguous: "DigitalOceanAnswerLost",
    digitalocean.Refused: "DigitalOceanRefused",
    acme.AcmeLimited: "CertificateLimitReached",
    acme.AcmeUnavailable: "ACMEServerUnavailable",
    acme.AccountRefused: "ACMEAccountRefused",
    generation.GenerationUnauthorized: "ClaudeUnauthorized",
    generation.GenerationNoCredit: "ClaudeNoCredit",
    generation.GenerationUnavailable: "ClaudeUnavailable",
}


_EXPECTED = (
    NotYet,
    SessionFailed,
    NeedsPerson,
    digitalocean.DigitalOceanError,
    generation.GenerationError,
    acme.AcmeError,
    AgentError,
    ClusterError,
    TimeoutError,
)


def is_expected(error: BaseException) -> bool:
    """Whether the error is one that its text explains; of any other one the log needs the trace."""
    return isinstance(error, _EXPECTED)


def failure_of(error: Exception, at: datetime, doing: str | None = None) -> Failure:
    """What an exception means for the plan. Anything unknown is worth another try, slowly.

    `doing`: what failed, in words that go on after "while".
    """
    if isinstance(error, SessionFailed):
        return Failure(FailureKind.FINAL, error.reason, str(error), at)
    if isinstance(error, NeedsPerson):
        return Failure(FailureKind.NEEDS_PERSON, error.reason, str(error), at)
    known = next((kind for kind in _KINDS if isinstance(error, kind)), None)
    kind = _KINDS[known] if known is not None else FailureKind.TRANSIENT
    if isinstance(error, acme.AcmeRefused):
        return Failure(kind, error.reason, words_of(error, doing), at)
    named = next((type_ for type_ in _REASONS if isinstance(error, type_)), None)
    reason = _REASONS[named] if named is not None else type(error).__name__
    return Failure(kind, reason, words_of(error, doing), at)


def words_of(error: Exception, doing: str | None = None) -> str:
    """The sentence for people. Only our own errors are known to hold no secret."""
    meanwhile = f" while {doing}" if doing is not None else ""
    if isinstance(
        error,
        digitalocean.DigitalOceanError | generation.GenerationError | acme.AcmeError | AgentError,
    ):
        return error.message
    if isinstance(error, ClusterError | NotYet | SessionFailed | NeedsPerson):
        return str(error)
    if isinstance(error, TimeoutError):
        return f"no answer in time{meanwhile}; it is tried again"
    return (
        f"unexpected {type(error).__name__}{meanwhile}; it is tried again, and the operator's log "
        "says more"
    )
