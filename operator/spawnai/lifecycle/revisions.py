"""A new prompt or a repair of a running app: which version is wanted, and which one runs.

The status tells for which prompt each version was made, by a digest: the prompt itself is kept
nowhere but in the spec, and beside the app where only the operator reads.
"""

import hashlib
from datetime import datetime

from spawnai.api.conditions import ConditionType
from spawnai.api.session import RevisionStatus, SessionStatus
from spawnai.api.spawnclass import OnAppFailure

from .actions import ReviseApp, key_of
from .funding import WAITING_FOR_BUDGET, may_order
from .inspection import look_of, tell
from .keep import app_failure
from .observation import FailureKind, Offer, Session
from .status import Draft

KEPT = 5
"""How many versions the status names."""


def prompt_digest(prompt: str) -> str:
    """By what a status knows a prompt."""
    return hashlib.sha256(prompt.encode("utf-8", errors="surrogatepass")).hexdigest()


def first_revision(d: Draft, session: Session, now: datetime) -> None:
    """Say which version runs, when nobody has said so: the app has just become Ready, or an
    operator of before did not know of versions.
    """
    if d.previous.revision is not None:
        return
    bundle, status = d.observation.bundle, d.previous
    stored = bundle.digest if bundle is not None else None
    if stored is None and status.generation is not None:
        stored = status.generation.bundle_digest
    number = bundle.number if bundle is not None else 1
    # The prompt may have changed since the app was ordered: then the change comes next.
    made_for = bundle.prompt_digest if bundle is not None else None
    d.put(
        revision=number,
        revisions=[
            RevisionStatus(
                revision=number,
                prompt_digest=made_for or prompt_digest(session.order.prompt),
                bundle_digest=stored,
                at=now.replace(microsecond=0),
            )
        ],
    )
    if bundle is not None and bundle.note:
        d.put(note=bundle.note)


def revise(d: Draft, session: Session, offer: Offer, ip: str) -> bool:
    """Have the app changed when the prompt was, or repaired when it has stopped for good; say how
    that went. Tells whether the app is as its prompt asks, or cannot be made so.
    """
    first_revision(d, session, d.now)
    if d.previous.revision is None:
        return False
    wanted = prompt_digest(session.order.prompt)
    _take_outcome(d)
    known = d.get("revisions")
    if _gave_up(d, wanted) and d.has(ConditionType.UPDATE_FAILED):
        return True
    fits = _fits(d, session)
    repairs = fits and repair_is_due(d, session, offer)
    if fits and not repairs:
        d.drop(ConditionType.UPDATE_FAILED)
        return True
    record, url = d.observation.record, d.get("url")
    if record is None:
        return False
    look = look_of(session, offer, url, ip) if url is not None else None
    action = ReviseApp(ip, wanted, look, repairs)
    effort = d.observation.effort(action.key)
    failure = effort.failure
    began = effort.running or failure is not None
    # The app of an earlier prompt is stored, and costs nothing.
    is_made = not repairs and any(one.prompt_digest == wanted and not one.failed for one in known)
    what = "repair" if repairs else "new prompt"
    if not (began or is_made or may_order(d, session, offer, record, what)):
        return False
    if waits_for_budget(d):
        d.drop(ConditionType.UPDATE_FAILED)
    if failure is not None and failure.kind is not FailureKind.FINAL:
        d.set_true(ConditionType.UPDATE_FAILED, failure.reason, failure.message)
    d.do(action)
    return False


def repair_is_due(d: Draft, session: Session, offer: Offer) -> bool:
    """Whether the app has stopped for good, and its class has Claude repair such apps.

    Only the agent's own word counts: a status can be forged, and a repair costs money.
    """
    o = d.observation
    wants = offer.spec.health.on_app_failure is OnAppFailure.REPAIR
    if not wants or o.app is None or app_failure(o) is None:
        return False
    return not _gave_up(d, prompt_digest(session.order.prompt))


def waits_for_budget(d: Draft) -> bool:
    """Whether no budget bears the change that is wanted: an app that stopped is not repaired."""
    told = d.condition(ConditionType.UPDATE_FAILED)
    return told is not None and told.reason == WAITING_FOR_BUDGET


def _gave_up(d: Draft, wanted: str) -> bool:
    """Whether the last change was one for that prompt, and failed."""
    outcome = d.observation.revised
    if outcome is not None and outcome.prompt_digest == wanted:
        return outcome.failure is not None
    known = d.get("revisions")
    return bool(known) and known[-1].failed and known[-1].prompt_digest == wanted


def _fits(d: Draft, session: Session) -> bool:
    """Whether the version that runs was made for the session's prompt."""
    known: list[RevisionStatus] = d.get("revisions")
    runs = next((one for one in known if one.revision == d.get("revision")), None)
    wanted = prompt_digest(session.order.prompt)
    return runs is not None and runs.prompt_digest == wanted and not runs.failed


def change_under_way(d: Draft, session: Session, offer: Offer) -> str | None:
    """What is said while the app is being changed; None: it is not."""
    effort = d.observation.effort(key_of(ReviseApp))
    begins = any(isinstance(action, ReviseApp) for action in d.actions)
    waits = effort.retry_at is not None and effort.failure is not None
    if waits:  # A prompt that was set back ends the wait.
        waits = not _fits(d, session) or repair_is_due(d, session, offer)
    if not begins and not effort.running and not waits:
        return None
    if app_failure(d.observation) is not None:
        return "the app is being changed; the one before has stopped"
    return "the app is being changed for its new prompt; the one before goes on meanwhile"


def _take_outcome(d: Draft) -> None:
    """Enter what became of a prompt, once."""
    outcome = d.observation.revised
    status: SessionStatus = d.previous
    if outcome is None or any(
        one.prompt_digest == outcome.prompt_digest and one.at == outcome.at
        for one in status.revisions
    ):
        return
    entry = RevisionStatus(
        revision=outcome.number,
        prompt_digest=outcome.prompt_digest,
        bundle_digest=outcome.bundle_digest,
        at=outcome.at,
        failed=outcome.failure is not None,
    )
    d.put(revisions=[*status.revisions, entry][-KEPT:])
    if outcome.failure is None:
        if outcome.page is not None:
            tell(d, outcome.page)
        else:
            d.drop(ConditionType.INSPECTED, ConditionType.DEGRADED)
        d.put(revision=outcome.number, note=outcome.note or None)
        d.drop(ConditionType.UPDATE_FAILED)
        message = f"Version {outcome.number} of the app runs"
        d.notice("Normal", "Revised", "Revise", message)
        return
    goes_on = "stays as it is" if app_failure(d.observation) is not None else "before goes on"
    message = f"{outcome.failure.message}; the app {goes_on}"
    d.set_true(ConditionType.UPDATE_FAILED, outcome.failure.reason, message)
    d.notice("Warning", "UpdateFailed", "Revise", message)
