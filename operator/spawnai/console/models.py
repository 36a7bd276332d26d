"""The bodies of the API: what callers send, and how a SpawnSession is shown to them."""

import re
from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic.alias_generators import to_camel

from spawnai.api.conditions import Condition
from spawnai.api.durations import parse_duration, parse_time
from spawnai.api.names import EXPIRES_AT_ANNOTATION, FEEDBACK_ANNOTATION, TTL_ANNOTATION
from spawnai.api.session import (
    LONGEST_PROMPT,
    VARIABLE_PATTERN,
    AppType,
    Phase,
    SessionStatus,
    Tier,
)

NAMESPACE_PATTERN = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
"""RFC 1123 label: a namespace has no dot, so that an id can be taken apart at the first one."""

OBJECT_NAME_PATTERN = r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?"

ID_PATTERN = rf"^{NAMESPACE_PATTERN}\.{OBJECT_NAME_PATTERN}$"


class _Body(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True
    )


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, frozen=True)


class State(StrEnum):
    """Where a session is in its life."""

    REQUESTED = "requested"
    PROVISIONING = "provisioning"
    GENERATING = "generating"
    DEPLOYING = "deploying"
    RUNNING = "running"
    DESTROYING = "destroying"
    DESTROYED = "destroyed"


class Feedback(StrEnum):
    """Whether the app works as its owner expected."""

    YES = "yes"
    NO = "no"


def _is_duration(text: str) -> str:
    parse_duration(text)
    return text


def _is_time(text: str) -> str:
    if text != "now":
        parse_time(text)
    return text


def _is_not_blank(text: str) -> str:
    if not text.strip():
        raise ValueError(
            "the prompt is blank: write in 1 to 2000 characters what the app should be"
        )
    return text


Prompt = Annotated[
    str, Field(min_length=1, max_length=LONGEST_PROMPT), AfterValidator(_is_not_blank)
]
Ttl = Annotated[str, Field(max_length=64, examples=["2h"]), AfterValidator(_is_duration)]
ExpiresAt = Annotated[
    str, Field(max_length=64, examples=["2026-12-24T18:00:00Z", "now"]), AfterValidator(_is_time)
]
Namespace = Annotated[str, Field(pattern=f"^{NAMESPACE_PATTERN}$", examples=["team-a"])]


class SecretKey(_Body):
    """A key of a Secret."""

    name: str = Field(
        pattern=f"^{OBJECT_NAME_PATTERN}$",
        description="A Secret of type spawn-ai.com/app-env in the session's namespace.",
    )
    key: str = Field(pattern="^[-._a-zA-Z0-9]{1,253}$", description="The key that holds the value.")


class Variable(_Body):
    """An environment variable of the app. Its value never passes this API."""

    name: str = Field(pattern=VARIABLE_PATTERN, examples=["OPENWEATHER_KEY"])
    secret_ref: SecretKey = Field(description="Where its value is.")


class Order(_Body):
    """What app is wanted."""

    prompt: Prompt = Field(description="What the app should be, in any language.")
    app_type: AppType = Field(description="What kind of app.")
    user_id: str | None = Field(
        default=None,
        min_length=1,
        max_length=253,
        description="Whom limits and cost belong to. When it is not set: the namespace.",
    )
    namespace: Namespace | None = Field(
        default=None, description="Where to make the session. When it is not set: the caller's own."
    )
    name: str | None = Field(
        default=None,
        pattern="^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$",
        description=(
            "The session's name. A caller that chooses it may send the order again after a cut: "
            "the second one is answered with 409. When it is not set: words of the prompt."
        ),
    )
    tier: Tier | None = Field(default=None, description="How much machine. Default: by the type.")
    ttl: Ttl | None = Field(
        default=None, description="How long the app lives from Ready on. Default: by the tier."
    )
    class_name: str | None = Field(default=None, max_length=253, description="The SpawnClass.")
    region: str | None = Field(default=None, max_length=16, description="A region slug.")
    location: str | None = Field(default=None, max_length=63, description="A place of the class.")
    env: list[Variable] | None = Field(
        default=None, max_length=16, description="Keys for the app; a webapp has none."
    )


class Change(_Body):
    """What is to be different. A field that is not sent stays; null takes an annotation away."""

    prompt: Prompt | None = Field(default=None, description="What the app should be from now on.")
    ttl: Ttl | None = Field(default=None, description="A new lifetime, counted from Ready.")
    expires_at: ExpiresAt | None = Field(
        default=None, description="A new end, or `now`. It wins over the ttl."
    )
    feedback: Feedback | None = Field(
        default=None, description="Whether the app works as expected."
    )


class ConditionAnswer(_Answer):
    """One of the session's conditions."""

    type: str
    status: str
    reason: str
    message: str
    last_transition_time: datetime


def _list_of(value: Any) -> Any:
    return value if isinstance(value, list) else []


class SessionAnswer(_Answer):
    """A session. The first six fields are those of the first description of the product."""

    id: str = Field(description="namespace.name: what the paths of this API take.")
    state: State = Field(description="Where the session is in its life.")
    app_url: str | None = Field(description="Where the app answers.")
    expires_at: datetime | None = Field(description="When the session ends.")
    estimated_cost: str | None = Field(description="US dollars that are expected in all.")
    actual_cost: str | None = Field(description="US dollars that were spent, once all is gone.")

    uid: str = Field(description="Kubernetes' own id: no two sessions ever have the same.")
    namespace: str
    name: str
    sequence: str = Field(description="Rises with each change of any session.")
    created_at: datetime
    deleted: bool = Field(description="Whether the session was deleted and is being taken down.")
    app_type: str
    prompt: str
    tier: str | None
    user_id: str | None
    class_name: str | None
    location: str | None
    region: str | None
    size: str | None
    ttl: str | None = Field(description="The lifetime that was asked for.")
    expires_at_asked: str | None = Field(description="The end that was asked for.")
    feedback: Feedback | None
    progress: int = Field(ge=0, le=100)
    message: str
    started_at: datetime | None
    ready_at: datetime | None
    destroyed_at: datetime | None
    termination_reason: str | None
    droplet_ip: str | None
    model: str | None
    input_tokens: int
    output_tokens: int
    repairs: int
    ran_seconds: int | None = Field(description="How long a script ran, once it has ended well.")
    cost_hourly: str | None = Field(description="US dollars an hour for the server.")
    cost_running: str | None = Field(description="US dollars spent when it was last written.")
    cost_claude: str | None = Field(description="What of costRunning was paid to Claude.")
    price: str | None = Field(description="US dollars that the user is charged, where known.")
    note: str | None = Field(description="What Claude wants its user to know.")
    revision: int | None = Field(description="Which version of the app runs.")
    revisions: Annotated[list[dict[str, Any]], BeforeValidator(_list_of)] = Field(
        description="The versions that are kept, the newest last."
    )
    env: Annotated[list[dict[str, Any]], BeforeValidator(_list_of)] = Field(
        description="The app's keys: their names, and which Secrets hold the values."
    )
    conditions: list[ConditionAnswer]


class Placed(_Answer):
    """The answer to an order."""

    session_id: str = Field(description="The id of the session.")
    estimated_cost: str | None = Field(
        description="US dollars that are expected in all; null while the operator is away."
    )
    estimated_time: int | None = Field(description="Seconds until it usually runs.")
    session: SessionAnswer


class Listing(_Answer):
    """Sessions of one namespace."""

    items: list[SessionAnswer]
    sequence: str = Field(description="Where a watch goes on from here: /api/watch?since=…")


class EndedSession(_Answer):
    """What is left of a session that has ended: its receipt. The session may be deleted."""

    uid: str = Field(description="Kubernetes' own id: no two sessions ever have the same.")
    namespace: str
    name: str
    user: str | None = Field(description="Whom limits and cost belong to; null: the namespace.")
    class_name: str | None = None
    app_type: str | None = None
    tier: str | None = None
    prompt: str | None = Field(
        default=None, description="What was ordered; only a history database keeps it."
    )
    created_at: datetime
    completed_at: datetime = Field(description="When all of it had been seen gone.")
    termination_reason: str | None = Field(description="Why it ended, in one word.")
    server_cost: str | None = Field(default=None, description="US dollars for the server.")
    claude_cost: str | None = Field(default=None, description="US dollars for Claude.")
    total_cost: str | None = Field(description="US dollars in all.")


class HistoryAnswer(_Answer):
    """Ended sessions of one namespace, the newest first."""

    items: list[EndedSession]
    more: bool = Field(
        default=False,
        description="Whether there are older ones: ask again with until = the last completedAt.",
    )
    missing: Literal["older", "newest"] | None = Field(
        default=None, description="Which sessions may be missing, while a source does not answer."
    )
    notice: str | None = Field(default=None, description="The same in a sentence.")


class Update(_Answer):
    """One message of a watch."""

    type: str = Field(description="session, deleted, reset, synced, trouble or error.")
    sequence: str
    id: str
    state: State
    progress: int
    message: str
    metadata: dict[str, Any] = Field(
        description="appUrl, expiresAt, estimatedCost and actualCost of the session."
    )
    session: SessionAnswer


_EMPTY = SessionStatus()
_FEEDBACK: Mapping[Any, Feedback] = {answer.value: answer for answer in Feedback}


def session_answer(document: Mapping[str, Any]) -> SessionAnswer:
    """Show a SpawnSession, as the API server has it, to the callers of this API."""
    metadata, spec = document["metadata"], document.get("spec") or {}
    raw = document.get("status") or {}
    status = _status(raw)
    annotations = metadata.get("annotations") or {}
    cost = raw.get("cost") or {}
    generation = raw.get("generation") or {}
    return SessionAnswer(
        id=f"{metadata['namespace']}.{metadata['name']}",
        state=State((status.phase or Phase.REQUESTED).lower()),
        app_url=status.url,
        expires_at=status.expiration_time,
        estimated_cost=_text(cost.get("estimated")),
        actual_cost=_text(cost.get("actual")),
        uid=metadata["uid"],
        namespace=metadata["namespace"],
        name=metadata["name"],
        sequence=metadata["resourceVersion"],
        created_at=metadata["creationTimestamp"],
        deleted="deletionTimestamp" in metadata,
        app_type=str(spec.get("appType") or ""),
        prompt=str(spec.get("prompt") or ""),
        tier=_text(raw.get("tier") or spec.get("tier")),
        user_id=_text(spec.get("user")),
        class_name=_text(raw.get("className") or spec.get("className")),
        location=_text(spec.get("location")),
        region=_text(raw.get("region") or spec.get("region")),
        size=_text(raw.get("size")),
        ttl=annotations.get(TTL_ANNOTATION),
        expires_at_asked=annotations.get(EXPIRES_AT_ANNOTATION),
        feedback=_FEEDBACK.get(annotations.get(FEEDBACK_ANNOTATION)),
        progress=min(max(status.progress or 0, 0), 100),
        message=status.message or "",
        started_at=status.started_at,
        ready_at=status.ready_at,
        destroyed_at=status.destroyed_at,
        termination_reason=status.termination_reason,
        droplet_ip=status.droplet.ip if status.droplet is not None else None,
        model=_text(generation.get("model")),
        input_tokens=int(generation.get("inputTokens") or 0),
        output_tokens=int(generation.get("outputTokens") or 0),
        repairs=int(generation.get("repairs") or 0),
        ran_seconds=status.ran_seconds,
        cost_hourly=_text(cost.get("hourly") or _hourly(cost.get("price"))),
        cost_running=_text(cost.get("running")),
        cost_claude=_text(cost.get("claude")),
        price=_price(cost.get("price")),
        note=_text(raw.get("note")),
        revision=raw.get("revision") if isinstance(raw.get("revision"), int) else None,
        revisions=raw.get("revisions"),
        env=spec.get("env"),
        conditions=[_condition(one) for one in status.conditions],
    )


def update_of(session: SessionAnswer, kind: str = "session") -> Update:
    """The message that tells of a session's new state."""
    return Update(
        type=kind,
        sequence=session.sequence,
        id=session.id,
        state=session.state,
        progress=session.progress,
        message=session.message,
        metadata={
            "appUrl": session.app_url,
            "expiresAt": session.expires_at,
            "estimatedCost": session.estimated_cost,
            "actualCost": session.actual_cost,
        },
        session=session,
    )


_WORD = re.compile("[a-z0-9]+")
_LITTLE_WORDS = frozenset(
    {"and", "the", "with", "for", "that", "une", "les", "des", "avec", "pour"}
)


def name_stem(prompt: str) -> str:
    """The beginning of a name for a session: the first two telling words of its prompt."""
    words = [
        word
        for word in _WORD.findall(prompt.lower())
        if len(word) > 2 and word not in _LITTLE_WORDS  # noqa: PLR2004
    ]
    return "-".join(word[:20] for word in words[:2]) or "app"


def _status(raw: Any) -> SessionStatus:
    """The status, or an empty one: one that somebody else wrote must not hide the session."""
    try:
        return SessionStatus.model_validate(raw)
    except ValidationError:
        return _EMPTY


def _condition(condition: Condition) -> ConditionAnswer:
    return ConditionAnswer(
        type=condition.type,
        status=condition.status.value,
        reason=condition.reason,
        message=condition.message,
        last_transition_time=condition.last_transition_time,
    )


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None


def _hourly(price: Any) -> Any:
    """The hourly price where a status still calls it `price`; later statuses charge under it."""
    return price if isinstance(price, str) else None


def _price(price: Any) -> str | None:
    if not isinstance(price, Mapping):
        return None
    return _text(price.get("final") or price.get("estimated"))
