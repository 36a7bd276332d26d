"""SpawnPool: spare droplets that have booted before anybody asks for them."""

from pydantic import Field

from .base import ApiModel, Identifier
from .conditions import Condition, conditions_field
from .durations import DURATION_HELP, MAX_LENGTH
from .resource import Column, CustomResource, Scale
from .schema import Reason, Rule, cel_is_duration, cel_matches, cel_seconds, for_api_server
from .session import NAME_PATTERN, Tier
from .spawnclass import Duration, RegionSlug, SizeSlug

MOST_SPARES = 100
"""Far more than any rate of orders needs (docs/speed.md); a slip of the pen costs this much."""

_HOUR, _WEEK = 3600, 7 * 24 * 3600


class PoolSpec(ApiModel):
    """Which spares are kept, and how many."""

    class_name: str = Field(
        description="The SpawnClass whose sessions take the spares.",
        examples=["standard"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message="write the name of a SpawnClass (small letters, digits, - and .)",
            ),
            min_length=1,
            max_length=253,
        ),
    )
    tier: Tier | None = Field(
        default=None,
        description=(
            "The tier whose first size the spares have: light, standard or complex. Light where "
            "neither tier nor size is set."
        ),
    )
    size: SizeSlug | None = Field(
        default=None,
        description="Their size, as a DigitalOcean slug, in place of a tier.",
        examples=["s-1vcpu-1gb"],
    )
    region: RegionSlug | None = Field(
        default=None,
        description="The DigitalOcean region they are in. When it is not set: the class's first.",
        examples=["fra1"],
    )
    replicas: int = Field(
        default=1,
        ge=0,
        le=MOST_SPARES,
        description=(
            "How many spares are kept, those that boot included: 0 to 100. `kubectl scale` and an "
            "autoscaler write this field. Each costs as much as a session's droplet."
        ),
    )
    min_ready: int = Field(
        default=0,
        ge=0,
        le=MOST_SPARES,
        description=(
            "How many of them have to be ready for the pool to be Ready. A spare that has grown "
            "old stays until so many others are. At most replicas are counted."
        ),
    )
    max_total: int | None = Field(
        default=None,
        ge=1,
        le=10 * MOST_SPARES,
        description=(
            "How many droplets the pool may have made that exist: spares, and those that sessions "
            "took and still use. None is ordered beyond it. When it is not set: no limit."
        ),
    )
    max_age: Duration = Field(
        default="24h",
        description=(
            "After how long a spare is replaced by another one, so that it has the updates of its "
            f"image: 1h to 7d. {DURATION_HELP[:1].upper()}{DURATION_HELP[1:]}."
        ),
        json_schema_extra=for_api_server(
            Rule(rule=cel_is_duration("self"), message=f"this is not a duration: {DURATION_HELP}"),
            Rule(
                rule=(
                    f"!{cel_is_duration('self')} || "
                    f"({cel_seconds('self')} >= {_HOUR} && {cel_seconds('self')} <= {_WEEK})"
                ),
                message="write a duration from 1h to 7d",
            ),
            max_length=MAX_LENGTH,
        ),
    )

    model_config = ApiModel.model_config | {
        "json_schema_extra": for_api_server(
            Rule(
                rule="!(has(self.tier) && has(self.size))",
                message="write a tier or a size, not both: a tier stands for its first size",
                field_path=".size",
                reason=Reason.FORBIDDEN,
            ),
            Rule(
                rule="!has(self.maxTotal) || self.maxTotal >= self.replicas",
                message="write at least as many as spec.replicas, or leave it out",
                field_path=".maxTotal",
            ),
        )
    }


class PoolStatus(ApiModel):
    """How many spares there are. A report: the ledgers are the truth."""

    observed_generation: int | None = Field(
        default=None,
        description=(
            "The metadata.generation that this status was decided for; -1 before the operator has "
            "looked at the object."
        ),
        json_schema_extra=for_api_server(minimum=-1),
    )
    conditions: list[Condition] = conditions_field(
        "What is true about the pool, for machines: Ready (minReady spares are ready), Reconciling "
        "(spares are made or deleted), Stalled (the message says what is wrong)."
    )
    replicas: int | None = Field(
        default=None, description="How many spares exist or are being made."
    )
    ready: int | None = Field(
        default=None, description="How many of them answer, and can be taken now."
    )
    booting: int | None = Field(
        default=None, description="How many are ordered or boot, those not listed yet included."
    )
    leaving: int | None = Field(
        default=None, description="How many are being deleted or handed over."
    )
    claimed: int | None = Field(
        default=None, description="How many droplets of the pool sessions have taken and still use."
    )
    selector: Identifier | None = Field(
        default=None,
        description="The label selector that an autoscaler asks for. Spares are no Pods.",
    )


SPAWN_POOL = CustomResource(
    kind="SpawnPool",
    plural="spawnpools",
    short_names=("sp",),
    namespaced=False,
    description=(
        "A SpawnPool keeps spare droplets of a class that have booted before anybody asks for "
        "them. A session that fits takes one, and the pool makes another. It is worth its money "
        "where an app is there already and only the boot is waited for. Spares are paid by the "
        "pool; from the moment a session takes one, by the session."
    ),
    spec=PoolSpec,
    spec_description=(
        "Which spares are kept, and how many. It may be changed at any time: spares that do not "
        "fit any more go, and what a session has taken stays the session's."
    ),
    status=PoolStatus,
    status_description="How many spares there are. Written by the operator only.",
    columns=(
        Column("Class", ".spec.className", "Whose sessions take the spares."),
        Column("Wanted", ".spec.replicas", "How many spares are kept.", type="integer"),
        Column("Ready", ".status.ready", "How many can be taken now.", type="integer"),
        Column("Booting", ".status.booting", "How many are being made.", type="integer"),
        Column("Claimed", ".status.claimed", "How many sessions use.", type="integer"),
        Column("Age", ".metadata.creationTimestamp", "Time since it was made.", type="date"),
        Column("Tier", ".spec.tier", "The tier whose first size they have.", priority=1),
        Column("Size", ".spec.size", "Their size, where it is set.", priority=1),
        Column("Region", ".spec.region", "Their region, where it is set.", priority=1),
        Column(
            "Message",
            '.status.conditions[?(@.type=="Ready")].message',
            "What is wrong, or how it stands.",
            priority=1,
        ),
    ),
    defaults=True,
    scale=Scale(".spec.replicas", ".status.replicas", ".status.selector"),
)
