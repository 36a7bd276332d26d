"""SpawnRecord: the ledger of one session. It outlives the session and its namespace."""

from datetime import datetime
from enum import StrEnum

from pydantic import ConfigDict, Field

from .base import Amount, ApiModel, Identifier, Text
from .resource import Column, CustomResource
from .schema import Reason, Rule, for_api_server

# Far beyond what one session makes; they only bound what the API server stores.
_MOST_ENTRIES = 1000


class ResourceKind(StrEnum):
    """The kinds of external resources that the operator makes."""

    DROPLET = "Droplet"
    DOMAIN_RECORD = "DomainRecord"
    FIREWALL = "Firewall"
    CERTIFICATE = "Certificate"
    IMAGE = "Image"
    LOAD_BALANCER = "LoadBalancer"
    HOSTED_CERTIFICATE = "HostedCertificate"


SESSION_OWNER, CLASS_OWNER, IMAGE_OWNER = "SpawnSession", "SpawnClass", "SpawnImage"
POOL_OWNER = "SpawnPool"
"""Whose ledger a record is. A SpawnImage is no object: its ledger is all there is of it. A pool has
a ledger for each of its spare droplets."""


_KINDS = (
    "Droplet, DomainRecord, Firewall, Certificate, Image, LoadBalancer or HostedCertificate "
    "(one that DigitalOcean holds)."
)


class Presence(StrEnum):
    """A receipt has three values; Unknown is a residual, not a success."""

    PRESENT = "Present"
    GONE = "Gone"
    UNKNOWN = "Unknown"


class OwnerReference(ApiModel):
    """Whose ledger this is."""

    kind: Identifier = Field(
        description=(
            "SpawnSession, SpawnClass for what a class shares, SpawnImage for a baked image, or "
            "SpawnPool for a spare droplet."
        )
    )
    namespace: Identifier | None = Field(
        default=None, description="The namespace of the session; the others have none."
    )
    name: Identifier = Field(
        description=("The name of the session, class or pool; of an image, the name of its class.")
    )
    uid: Identifier = Field(
        description=(
            "Its UID, which is also the name of this record. An image and a spare have one of "
            "their own."
        )
    )
    user: Identifier | None = Field(default=None, description="Whom the cost belongs to.")


class PlannedResource(ApiModel):
    """What will be made, under which deterministic name: the intent, written first."""

    kind: ResourceKind = Field(description=_KINDS)
    name: Identifier = Field(description="The name it will have, made from the UID.")


class ImageIntent(ApiModel):
    """What a baked image is made of."""

    source: Identifier = Field(description="The image that its builder starts from.")
    contents: Identifier = Field(
        description=(
            "A digest of all that is installed in it. Droplets start only from an image whose "
            "digest is the one that their class asks for."
        )
    )
    kept: bool | None = Field(
        default=None,
        description=(
            "True for an image that a person asked for (spawnai image bake): the operator does not "
            "replace it by itself."
        ),
    )


class SpareIntent(ApiModel):
    """What a spare droplet is made for."""

    region: Identifier = Field(description="The region that it is made in.")
    size: Identifier = Field(description="Its size.")
    contents: Identifier = Field(
        description=(
            "A digest of what it boots with. A session takes it only where that is what would be "
            "ordered now."
        )
    )
    pool_generation: int = Field(
        default=0, description="The generation of the pool that it was ordered for."
    )


class BegunExposure(ApiModel):
    """How the app is reached, as the class had it when the session began."""

    mode: Identifier = Field(description="Direct, Wildcard or LoadBalancer.")
    domain: Identifier | None = Field(
        default=None, description="The domain below which its name is; none: its address is used."
    )


class PriceTerms(ApiModel):
    """How the price of the session is made, as its class had it when it began."""

    model: Identifier = Field(description="Flat, CostPlus or Dynamic.")
    flat: Amount | None = Field(default=None, description="US dollars, when it is Flat.")
    overhead: Amount | None = Field(
        default=None, description="A share, when it is CostPlus or Dynamic."
    )
    multiplier: Amount | None = Field(
        default=None, description="A factor, when it is CostPlus or Dynamic."
    )
    minimum: Amount | None = Field(
        default=None, description="US dollars, when it is CostPlus or Dynamic."
    )


class RecordSpec(ApiModel):
    """The intent. Immutable."""

    model_config = ConfigDict(
        json_schema_extra=for_api_server(
            Rule(
                rule="self == oldSelf",
                message=(
                    "a ledger's intent cannot change: leave SpawnRecords to the operator, which "
                    "writes and removes them"
                ),
                reason=Reason.FORBIDDEN,
            )
        )
    )

    owner: OwnerReference = Field(description="Whose ledger this is.")
    cluster_uid: Identifier = Field(
        description=(
            "The UID of namespace kube-system, which tells clusters on one DigitalOcean account "
            "apart."
        )
    )
    class_name: Identifier | None = Field(
        default=None, description="The SpawnClass that serves the session."
    )
    app_type: Identifier | None = Field(
        default=None, description="What kind of app the session is: webapp, api and so on."
    )
    tier: Identifier | None = Field(
        default=None, description="The tier in force: light, standard or complex."
    )
    expected_tokens: Amount | None = Field(
        default=None,
        description=(
            "What Claude was expected to take for the app, in US dollars, when the session began."
        ),
    )
    price_terms: PriceTerms | None = Field(
        default=None, description="How its price is made; none where nobody is charged."
    )
    reserved: Amount | None = Field(
        default=None,
        description=(
            "What the session may cost at most, in US dollars, for the life that was asked for: "
            "reserved in the budgets that select it before anything was made."
        ),
    )
    planned: list[PlannedResource] = Field(
        default_factory=list,
        description="What will be made for the session; written before the first of it is made.",
        json_schema_extra=for_api_server(max_items=32, x_kubernetes_list_type="atomic"),
    )
    image: ImageIntent | None = Field(
        default=None, description="What is baked, in the ledger of an image."
    )
    spare: SpareIntent | None = Field(
        default=None, description="What a spare is made for, in the ledger of one."
    )
    exposure: BegunExposure | None = Field(
        default=None,
        description=(
            "How its app is reached until its end, whatever the class says later; none in a ledger "
            "of an older version: as the class says."
        ),
    )
    orphaned: bool | None = Field(
        default=None,
        description=(
            "True in a ledger that the reaper made for what it found without one. It is closed "
            "from the first: no session goes on with it."
        ),
    )


class LedgerEntry(ApiModel):
    """One external resource: when made, when seen gone, what it cost."""

    kind: ResourceKind = Field(description=_KINDS)
    id: Identifier = Field(
        description=(
            "DigitalOcean's id of it; the URL of a certificate's order; the name of a hosted "
            "certificate, whose id changes. `pending-` and a digest: a class is about to make it."
        )
    )
    name: Identifier = Field(description="Its name.")
    region: Identifier | None = Field(
        default=None,
        description="The region of a droplet or load balancer, or that an image was made in.",
    )
    size: Identifier | None = Field(default=None, description="The size of a droplet.")
    domain: Identifier | None = Field(
        default=None,
        description="The domain of a DNS record, or the name that a certificate is for.",
    )
    ip: Identifier | None = Field(
        default=None,
        description=(
            "The address of a droplet or load balancer, or what a DNS record or certificate leads "
            "to."
        ),
    )
    content: Identifier | None = Field(
        default=None, description="The text of a DNS record of type TXT."
    )
    price_hourly: Amount | None = Field(
        default=None, description="Its price per hour in US dollars, where it has one."
    )
    spare: Identifier | None = Field(
        default=None,
        description=(
            "The ledger of the spare that a droplet was before the session took it. Until its name "
            "is the session's own, it may wear the marks of that ledger."
        ),
    )
    created_at: datetime = Field(
        description="When it was made; of a spare, when the session took it: it pays from then on."
    )
    deletion_accepted_at: datetime | None = Field(
        default=None, description="When DigitalOcean accepted its deletion. The bill ends here."
    )
    gone_at: datetime | None = Field(
        default=None, description="When the operator saw that it is gone."
    )
    presence: Presence = Field(
        default=Presence.PRESENT,
        description=(
            "Present; Gone: seen gone; Unknown: nobody can say, so it counts as a residual."
        ),
    )
    cost: Amount | None = Field(
        default=None, description="What it cost in US dollars; known once it is gone."
    )


class GenerationEntry(ApiModel):
    """One order to Claude: what was paid, also when it failed."""

    model: Identifier = Field(description="The Claude model.")
    started_at: datetime = Field(description="When Claude was asked.")
    finished_at: datetime | None = Field(default=None, description="When the answer was complete.")
    outcome: Text = Field(description="What came of it, in one word such as Stored.")
    input_tokens: int = Field(default=0, description="Input tokens that were paid for.")
    output_tokens: int = Field(default=0, description="Output tokens that were paid for.")
    cache_read_tokens: int = Field(default=0, description="Tokens read from the prompt cache.")
    cache_write_tokens: int = Field(default=0, description="Tokens written to the prompt cache.")
    repairs: int = Field(default=0, description="Repair rounds within this order.")
    cost: Amount = Field(default="0", description="What it cost in US dollars.")


class UsageTotals(ApiModel):
    """For how long processor and memory were busy and idle, as the droplet's agent measured."""

    next: int = Field(
        default=0, ge=0, description="The number of the agent's sample that is to be read next."
    )
    measured_seconds: int = Field(
        default=0, ge=0, description="How long was measured while the app ran, in seconds."
    )
    cpu_busy_seconds: int = Field(
        default=0, ge=0, description="How long the processor was used above 80 %."
    )
    cpu_idle_seconds: int = Field(
        default=0, ge=0, description="How long the processor was used below 30 %."
    )
    memory_busy_seconds: int = Field(
        default=0, ge=0, description="How long the memory was used above 80 %."
    )
    memory_idle_seconds: int = Field(
        default=0, ge=0, description="How long the memory was used below 30 %."
    )


class Replacement(ApiModel):
    """A droplet that was replaced by another one while its session ran."""

    reason: Identifier = Field(description="Why, in one word such as DropletLost.")
    message: Text = Field(description="Why, in a sentence.")
    started_at: datetime = Field(description="When it was decided.")
    replaced: list[Identifier] = Field(
        default_factory=list,
        description=(
            "The ids of what it gave up: the droplet, and what led to it. Nothing else of the "
            "session is built on them any more."
        ),
        json_schema_extra=for_api_server(max_items=32, x_kubernetes_list_type="atomic"),
    )
    finished_at: datetime | None = Field(
        default=None, description="When the app answered on the new droplet."
    )


class RecordStatus(ApiModel):
    """What happened."""

    resources: list[LedgerEntry] = Field(
        default_factory=list,
        description="Every external resource that was made, with its receipt.",
        json_schema_extra=for_api_server(max_items=_MOST_ENTRIES, x_kubernetes_list_type="atomic"),
    )
    generations: list[GenerationEntry] = Field(
        default_factory=list,
        description="Every order to Claude, with the tokens that were paid for.",
        json_schema_extra=for_api_server(max_items=_MOST_ENTRIES, x_kubernetes_list_type="atomic"),
    )
    replacements: list[Replacement] = Field(
        default_factory=list,
        description="Every droplet that was replaced while the session ran; at most one.",
        json_schema_extra=for_api_server(max_items=16, x_kubernetes_list_type="atomic"),
    )
    residuals: list[Text] = Field(
        default_factory=list,
        description="What has not been seen gone, in words. Empty when all is gone.",
        json_schema_extra=for_api_server(max_items=_MOST_ENTRIES, x_kubernetes_list_type="atomic"),
    )
    reserved: Amount | None = Field(
        default=None,
        description=(
            "What the session may cost at most, in US dollars, once that is another amount than in "
            "the intent: less when the app runs, more for a longer life or a new prompt."
        ),
    )
    usage: UsageTotals | None = Field(
        default=None,
        description=(
            "How busy the droplet was, where the price depends on it. Written with other news, at "
            "the end, and each twelve hours."
        ),
    )
    total_cost: Amount | None = Field(
        default=None, description="What all of it cost in US dollars; known once all is gone."
    )
    termination_reason: Identifier | None = Field(
        default=None, description="Why the session ended, in one word."
    )
    log: list[Text] = Field(
        default_factory=list,
        description="The last lines of the app's log, taken before its droplet went.",
        json_schema_extra=for_api_server(max_items=_MOST_ENTRIES, x_kubernetes_list_type="atomic"),
    )
    taken_over_by: Identifier | None = Field(
        default=None,
        description="The UID of the session that took the spare; written before anything of it.",
    )
    taken_over_at: datetime | None = Field(
        default=None, description="When a session took the spare. The pool pays until then."
    )
    abandoned_at: datetime | None = Field(
        default=None,
        description="When the spare was given up: no session may take it, and it is deleted.",
    )
    completed_at: datetime | None = Field(
        default=None, description="When all of it had been seen gone."
    )


SPAWN_RECORD = CustomResource(
    kind="SpawnRecord",
    plural="spawnrecords",
    short_names=("sr",),
    namespaced=False,
    description=(
        "A SpawnRecord is the ledger of one SpawnSession, named by its UID: every external "
        "resource, when it was made and when it was seen gone, every order to Claude, and what all "
        "of it cost. It outlives the session and its namespace, for as long as the class says "
        "(spec.records.retention). The operator writes it; nobody else needs to."
    ),
    spec=RecordSpec,
    spec_description=(
        "The intent: whose ledger this is and what will be made. Written before anything is made, "
        "and never changed."
    ),
    status=RecordStatus,
    status_description="What happened. Written by the operator only.",
    columns=(
        Column("Kind", ".spec.owner.kind", "What the ledger belongs to."),
        Column("Namespace", ".spec.owner.namespace", "The namespace of the session."),
        Column("Owner", ".spec.owner.name", "The name of that session or class."),
        Column("User", ".spec.owner.user", "Whom the cost belongs to."),
        Column("Cost", ".status.totalCost", "US dollars in all; known once all is gone."),
        Column("Reason", ".status.terminationReason", "Why the session ended."),
        Column(
            "Completed", ".status.completedAt", "Time since all of it was seen gone.", type="date"
        ),
        Column("Age", ".metadata.creationTimestamp", "Time since it was begun.", type="date"),
        Column("Class", ".spec.className", "The class that served it.", priority=1),
        Column("Residuals", ".status.residuals", "What has not been seen gone.", priority=1),
    ),
)
