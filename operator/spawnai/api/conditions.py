"""Conditions: what is true about an object, for machines (Kubernetes API conventions)."""

from collections.abc import Iterable, Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any

from pydantic import Field

from .base import ApiModel, Moment, Text
from .schema import for_api_server

# The patterns of metav1.Condition.
_QUALIFIED_NAME = (
    r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*/)?"
    r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])$"
)
_REASON = "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$"


class ConditionStatus(StrEnum):
    """The three values a condition may take."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


class ConditionType(StrEnum):
    """Every condition that a SpawnSession, SpawnClass, SpawnBudget or SpawnPool may carry."""

    READY = "Ready"
    RECONCILING = "Reconciling"
    STALLED = "Stalled"
    ADMITTED = "Admitted"
    DROPLET_READY = "DropletReady"
    FIREWALL_READY = "FirewallReady"
    LOAD_BALANCER_READY = "LoadBalancerReady"
    DNS_READY = "DNSReady"
    CERTIFICATE_READY = "CertificateReady"
    GENERATED = "Generated"
    APP_HEALTHY = "AppHealthy"
    INSPECTED = "Inspected"
    DEGRADED = "Degraded"
    UPDATE_FAILED = "UpdateFailed"
    EXPIRING_SOON = "ExpiringSoon"
    EXPIRED = "Expired"
    CLEANUP_COMPLETE = "CleanupComplete"
    NEAR_LIMIT = "NearLimit"
    IMAGE_READY = "ImageReady"


# What each condition says, for the reference and for `kubectl explain`.
MEANINGS: Mapping[ConditionType, str] = {
    ConditionType.READY: (
        "The app answers at status.url (on a SpawnClass: the class can be used; on a SpawnBudget: "
        "it is counted; on a SpawnPool: minReady spares are ready). Absent from a session that "
        "ended in good order, whose truth is Expired=True."
    ),
    ConditionType.RECONCILING: "The operator is at work on the object; False or absent at rest.",
    ConditionType.STALLED: (
        "The object cannot go on until a person changes something: the message says what is wrong "
        "and what to write or provide instead. What only waits for something that may appear, such "
        "as its class or a Secret, is Reconciling."
    ),
    ConditionType.ADMITTED: (
        "The session is within the limits of its class, and the budgets that select it have room. "
        "False: it waits in the queue, and the message says in which place and for what. Absent "
        "where nothing was waited for."
    ),
    ConditionType.DROPLET_READY: (
        "DigitalOcean says that the droplet is active; its agent answers some seconds later."
    ),
    ConditionType.FIREWALL_READY: (
        "The firewall that covers the droplet is in force. No app is started before it is."
    ),
    ConditionType.LOAD_BALANCER_READY: (
        "With mode LoadBalancer: the session's load balancer leads to the app. False: DigitalOcean "
        "makes it, which takes a minute or more, or the message says why it cannot be had."
    ),
    ConditionType.DNS_READY: "The host name of status.url leads to the droplet.",
    ConditionType.CERTIFICATE_READY: (
        "The app is served with a certificate that browsers accept. False: not yet, or the message "
        "says why none can be had and the app is reached by HTTP. On a SpawnClass with mode "
        "Wildcard or LoadBalancer: the gateway or the load balancers have a certificate. False: "
        "they have none, or the message says why it cannot be renewed."
    ),
    ConditionType.GENERATED: "Claude has written the app, and what it wrote was checked and kept.",
    ConditionType.APP_HEALTHY: (
        "The app on the droplet answers; a script has ended with exit code 0. False: it is not up "
        "yet, or has stopped for good; Unknown: the droplet's agent, which would know, does not "
        "answer."
    ),
    ConditionType.INSPECTED: (
        "A browser opened the app's page and found nothing wrong. False: the message says what it "
        "found; Unknown: the page was not opened, and the message says why. Absent for an api or a "
        "script, and where no inspector is set up."
    ),
    ConditionType.DEGRADED: (
        "The app runs, but a part of it does not work; the message says which. Only where the "
        "class says spec.inspection: Warn, so that what a browser finds wrong holds nothing up."
    ),
    ConditionType.UPDATE_FAILED: (
        "The app for the prompt that stands in the spec did not work, so the one before goes on; "
        "the message says why. Another prompt is tried at once, an earlier one brings its app back."
    ),
    ConditionType.EXPIRING_SOON: (
        "The session ends within the class's warning time; the message names the time. An "
        "extension takes it away and arms it again."
    ),
    ConditionType.EXPIRED: "The session's time is over, or was ended on request.",
    ConditionType.CLEANUP_COMPLETE: (
        "Everything the session used has been seen gone. False: the message lists what is left."
    ),
    ConditionType.IMAGE_READY: (
        "On a SpawnClass with a baked image: droplets start from it in every region of the class. "
        "False: it is being made or has not reached every region, or the message says why it could "
        "not be made; droplets start from the stock image where there is none."
    ),
    ConditionType.NEAR_LIMIT: (
        "On a SpawnBudget: what is used and reserved has reached spec.warnAt of the limit; the "
        "message says how much is left, and whether the limit is exceeded because it was lowered."
    ),
}


WAITED_FOR = frozenset(
    {
        "CertificatePending",
        "ClassDeleting",
        "ClassNotFound",
        "DigitalOceanUnavailable",
        "NamespaceUnknown",
        "NoDefaultClass",
        "SecretKeyMissing",
        "SecretMissing",
    }
)
"""Reasons that go away by themselves when what is missing appears. An object that waits so is
Reconciling and not Stalled: a tool that applies class, Secret and session together would otherwise
take the first moment for a failure."""


class Condition(ApiModel):
    """One condition, in the shape of metav1.Condition."""

    type: str = Field(
        max_length=316,
        description="What this condition is about, such as Ready or Stalled.",
        json_schema_extra=for_api_server(pattern=_QUALIFIED_NAME),
    )
    status: ConditionStatus = Field(
        description="Whether it is so: True, False, or Unknown when nobody can say."
    )
    reason: str = Field(
        max_length=1024,
        description="One word for machines that says why the status is what it is.",
        json_schema_extra=for_api_server(min_length=1, pattern=_REASON),
    )
    message: Text = Field(default="", description="A sentence for people.")
    last_transition_time: Moment = Field(description="When the status last changed.")
    observed_generation: int | None = Field(
        default=None,
        description=(
            "The metadata.generation this was decided for. Lower than that of the object: the "
            "operator has not yet looked at the last change."
        ),
        json_schema_extra=for_api_server(minimum=0),
    )


def conditions_field(description: str) -> Any:
    """The list of conditions of a status: one entry for each type, which several may write."""
    return Field(
        default_factory=list,
        description=description,
        json_schema_extra=for_api_server(
            max_items=32, x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["type"]
        ),
    )


def next_condition(
    before: Condition | None,
    type_: str,
    status: ConditionStatus,
    reason: str,
    message: str,
    *,
    now: datetime,
    observed_generation: int | None,
) -> Condition:
    """A condition as it stands now, beside the one that the object has: its time moves with its
    status alone.
    """
    same = before is not None and before.status is status
    return Condition(
        type=type_,
        status=status,
        reason=reason,
        message=message,
        last_transition_time=before.last_transition_time if before is not None and same else now,
        observed_generation=observed_generation,
    )


def find_condition(conditions: Iterable[Condition], type_: str) -> Condition | None:
    """The condition of that type, or None."""
    return next((condition for condition in conditions if condition.type == type_), None)


def is_true(conditions: Iterable[Condition], type_: str) -> bool:
    """Whether that condition is there and True."""
    found = find_condition(conditions, type_)
    return found is not None and found.status is ConditionStatus.TRUE
