"""SpawnBudget: how much money users, namespaces or classes may use in a day, week or month."""

from enum import StrEnum
from typing import Annotated

from pydantic import Field

from .base import Amount, ApiModel, Moment
from .conditions import Condition, conditions_field
from .resource import Column, CustomResource
from .schema import Rule, cel_matches, decimal_field, for_api_server
from .session import NAME_PATTERN

_ZONE_PATTERN = r"^[A-Za-z][A-Za-z0-9_+-]*(/[A-Za-z0-9_+-]+){0,2}$"


class Period(StrEnum):
    """For how long a budget's money has to last."""

    DAY = "Day"
    WEEK = "Week"
    MONTH = "Month"


_User = Annotated[str, Field(json_schema_extra=for_api_server(min_length=1, max_length=253))]
_Name = Annotated[
    str,
    Field(
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message="write a name in small letters, digits, - and .",
            ),
            max_length=253,
        )
    ),
]


class BudgetSelector(ApiModel):
    """Whose sessions are paid from the budget: each list that is not empty must hold a session."""

    users: list[_User] = Field(
        default_factory=list,
        max_length=64,
        description="Users as spec.user of a session names them, at most 64. Empty: all.",
        examples=['["dana@example.com"]'],
        json_schema_extra=for_api_server(x_kubernetes_list_type="set"),
    )
    namespaces: list[_Name] = Field(
        default_factory=list,
        max_length=64,
        description="Namespaces, at most 64. Empty: all.",
        examples=['["team-shop"]'],
        json_schema_extra=for_api_server(x_kubernetes_list_type="set"),
    )
    classes: list[_Name] = Field(
        default_factory=list,
        max_length=64,
        description="SpawnClasses, at most 64. Empty: all.",
        examples=['["standard"]'],
        json_schema_extra=for_api_server(x_kubernetes_list_type="set"),
    )


class BudgetSpec(ApiModel):
    """The limit."""

    limit: str = decimal_field(
        ...,
        'How many US dollars may be used in one period, as a string such as "50" or "12.50": '
        "no sign, at most six decimals. 0: nothing new begins.",
        help_='write an amount of dollars as a string such as "50" or "12.50": no sign, no '
        "currency, at most six decimals",
        examples=['"50"', '"12.50"'],
    )
    currency: str = Field(
        default="USD",
        pattern="^USD$",
        description="The currency of the limit. Only USD: DigitalOcean and Claude bill in it.",
        json_schema_extra=for_api_server(
            Rule(
                rule="self == 'USD'",
                message="write USD: DigitalOcean and Claude bill in US dollars",
            ),
            pattern=None,
            max_length=8,
        ),
    )
    period: Period = Field(
        default=Period.MONTH,
        description=(
            "For how long the money has to last: Day, Week (from Monday) or Month. At its end the "
            "budget is full again."
        ),
    )
    time_zone: str = Field(
        default="UTC",
        description="The time zone in which days, weeks and months begin, by its IANA name.",
        examples=["Europe/Paris"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _ZONE_PATTERN),
                message="write the IANA name of a time zone such as UTC or Europe/Paris",
            ),
            max_length=64,
        ),
    )
    selector: BudgetSelector = Field(
        default_factory=BudgetSelector,
        description=(
            "Whose sessions are paid from the budget. A session that several budgets select needs "
            "room in all of them. Empty: all sessions."
        ),
    )
    warn_at: int = Field(
        default=80,
        ge=1,
        le=100,
        description=(
            "At how many percent of the limit, used and reserved together, people are warned: 1 to "
            "100."
        ),
    )


class BudgetStatus(ApiModel):
    """How much is left. A report: the ledgers are the truth. Written by the operator only."""

    observed_generation: int | None = Field(
        default=None,
        description=(
            "The metadata.generation that this status was decided for; -1 before the operator has "
            "looked at the object."
        ),
        json_schema_extra=for_api_server(minimum=-1),
    )
    conditions: list[Condition] = conditions_field(
        "What is true about the budget, for machines: Ready (it is counted), NearLimit (warnAt is "
        "reached), Stalled (the message says what is wrong; nothing it selects begins)."
    )
    period_start: Moment | None = Field(default=None, description="When the period began.")
    resets_at: Moment | None = Field(
        default=None, description="When the period ends and the budget is full again."
    )
    spent: Amount | None = Field(
        default=None,
        description="US dollars that sessions cost which ended in the period, to the last digit.",
    )
    reserved: Amount | None = Field(
        default=None,
        description=(
            "US dollars that sessions which live may cost at most. What they do not use comes back "
            "when they end."
        ),
    )
    left: Amount | None = Field(
        default=None,
        description="US dollars that can be reserved; below 0 when the limit was lowered.",
    )
    sessions: int | None = Field(default=None, description="How many sessions have money reserved.")


SPAWN_BUDGET = CustomResource(
    kind="SpawnBudget",
    plural="spawnbudgets",
    short_names=("sb",),
    namespaced=False,
    description=(
        "A SpawnBudget says how much money users, namespaces or classes may use in a day, week or "
        "month. A session reserves what it may cost at most before anything is made for it; one "
        "for which there is no room waits, and its condition Admitted says for what. A longer "
        "life, a new prompt and a repair reserve first, too. So a budget is not exceeded."
    ),
    spec=BudgetSpec,
    spec_description=(
        "The limit. It may be changed at any time: what is lowered below what is reserved ends "
        "nothing, and nothing new begins."
    ),
    status=BudgetStatus,
    status_description="How much is left. Written by the operator only.",
    columns=(
        Column("Limit", ".spec.limit", "US dollars in one period."),
        Column("Period", ".spec.period", "Day, Week or Month."),
        Column("Spent", ".status.spent", "US dollars that ended sessions cost."),
        Column("Reserved", ".status.reserved", "US dollars that living sessions may cost at most."),
        Column("Left", ".status.left", "US dollars that can be reserved."),
        Column("Resets", ".status.resetsAt", "When it is full again (UTC)."),
        Column("Age", ".metadata.creationTimestamp", "Time since it was made.", type="date"),
        Column(
            "Ready",
            '.status.conditions[?(@.type=="Ready")].status',
            "Whether it is counted.",
            priority=1,
        ),
        Column("Sessions", ".status.sessions", "Living sessions.", type="integer", priority=1),
        Column(
            "Message",
            '.status.conditions[?(@.type=="Ready")].message',
            "What is wrong, or how it stands.",
            priority=1,
        ),
    ),
    defaults=True,
)
