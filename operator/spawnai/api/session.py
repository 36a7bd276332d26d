"""SpawnSession: one ephemeral app, as its owner orders it and as the operator reports it."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from pydantic import ConfigDict, Field, model_validator

from .base import Amount, ApiModel, Identifier, Moment, Text
from .conditions import Condition, conditions_field
from .resource import Column, CustomResource
from .schema import Reason, Rule, cel_matches, for_api_server, immutable

LONGEST_PROMPT = 2000

# RFC 1123 subdomain, as Kubernetes names cluster-scoped objects.
NAME_PATTERN = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$"
LABEL_PATTERN = "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$"
# The slugs of DigitalOcean's regions: letters for the place, a number for the data centre.
REGION_PATTERN = "^[a-z]{2,8}[0-9]{1,3}$"
# All but the C0 and C1 control characters of ISO 6429; tab, line feed and carriage return are text.
_NO_CONTROL_CHARACTERS = r"^[^\x00-\x08\x0B\x0C\x0E-\x1F\x7F-\x{9F}]*$"
REGION_HELP = "write a DigitalOcean region slug such as nyc3, ams3 or sgp1"


class AppType(StrEnum):
    """What kind of app is wanted."""

    WEBAPP = "webapp"
    API = "api"
    FULLSTACK = "fullstack"
    SCRIPT = "script"


class Tier(StrEnum):
    """How much machine an app gets; the class says which sizes and lifetime that means."""

    LIGHT = "light"
    STANDARD = "standard"
    COMPLEX = "complex"


DEFAULT_TIER = {
    AppType.WEBAPP: Tier.LIGHT,
    AppType.API: Tier.STANDARD,
    AppType.FULLSTACK: Tier.STANDARD,
    AppType.SCRIPT: Tier.STANDARD,
}


class Phase(StrEnum):
    """Where a session is in its life, for people; machines read the conditions."""

    REQUESTED = "Requested"
    PROVISIONING = "Provisioning"
    GENERATING = "Generating"
    DEPLOYING = "Deploying"
    RUNNING = "Running"
    DESTROYING = "Destroying"
    DESTROYED = "Destroyed"


_ANOTHER_SESSION = "delete this session and apply it again, or apply it under another metadata.name"


VARIABLE_PATTERN = "^[A-Z][A-Z0-9_]{0,63}$"
_OF_THE_PLATFORM = "['PATH', 'LANG', 'HOME', 'TMPDIR', 'DATA_DIR', 'PORT', 'NODE_ENV']"
APP_ENV_SECRET = "spawn-ai.com/app-env"  # noqa: S105 - a type
"""The type of a Secret that may be given to apps: no other one can be named by mistake."""


class SecretKey(ApiModel):
    """A key of a Secret."""

    name: str = Field(
        description=(
            "The name of a Secret of type spawn-ai.com/app-env in the session's namespace that the "
            "operator may read."
        ),
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message="write the name of a Secret (small letters, digits, - and .)",
            ),
            max_length=253,
        ),
    )
    key: str = Field(
        description="The key in its data that holds the value.",
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", "^[-._a-zA-Z0-9]+$"),
                message="write the key in the Secret's data (letters, digits, -, _ and .)",
            ),
            max_length=253,
        ),
    )


class Variable(ApiModel):
    """An environment variable of the app."""

    name: str = Field(
        description="Its name, in capital letters, such as OPENWEATHER_KEY. Claude is told of it.",
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", VARIABLE_PATTERN),
                message="write a name of capital letters, digits and _, such as OPENWEATHER_KEY",
            ),
            Rule(
                rule=f"!(self in {_OF_THE_PLATFORM}) && !self.startsWith('LD_')",
                message="this variable is the platform's own: write another name",
            ),
            max_length=64,
        ),
    )
    secret_ref: SecretKey = Field(description="Where its value is. Claude never sees it.")


class SessionSpec(ApiModel):
    """The order: what app, what machine, for whom."""

    model_config = ConfigDict(
        json_schema_extra=for_api_server(
            immutable("appType", optional=False, name="app type", instead=_ANOTHER_SESSION),
            immutable("tier", optional=True, name="tier", instead=_ANOTHER_SESSION),
            immutable("user", optional=True, name="user", instead=_ANOTHER_SESSION),
            immutable("className", optional=True, name="class", instead=_ANOTHER_SESSION),
            immutable("region", optional=True, name="region", instead=_ANOTHER_SESSION),
            immutable("location", optional=True, name="location", instead=_ANOTHER_SESSION),
            immutable("env", optional=True, name="environment", instead=_ANOTHER_SESSION),
            Rule(
                rule="self.appType != 'webapp' || !has(self.env) || size(self.env) == 0",
                message=(
                    "a webapp is files that everyone may read, and has no environment: leave env "
                    "out, or choose appType fullstack"
                ),
                field_path=".env",
            ),
        )
    )

    prompt: str = Field(
        min_length=1,
        max_length=LONGEST_PROMPT,
        description=(
            "What the app should be, in your own words and in any language: 1 to 2000 characters. "
            "Say what people see, what they can do and what is kept; Claude writes the whole app "
            "from this text. Quotes, line breaks and emoji are welcome. The text is kept in the "
            "cluster and sent to Claude: put no password or key into it. It may be changed while "
            "the session runs: Claude then changes the app, and the app before stays until the new "
            "one works; an earlier prompt brings its app back at no cost."
        ),
        examples=["A retro board with three columns, cards people can add and vote on"],
        # The API server would word its own bounds in bytes, and an empty text as "should be at
        # least 1 chars long"; its maxLength here only bounds the cost of the rules.
        json_schema_extra=for_api_server(
            Rule(
                rule="self.trim() != ''",
                message="the prompt is blank: write in 1 to 2000 characters what the app should be",
                reason=Reason.REQUIRED,
            ),
            Rule(
                rule=cel_matches("self", _NO_CONTROL_CHARACTERS),
                message=(
                    "the prompt holds control characters, such as NUL or an escape sequence of a "
                    "terminal: write it as plain text; line breaks and tabs are fine"
                ),
            ),
            Rule(
                rule=f"size(self) <= {LONGEST_PROMPT}",
                message=f"the prompt is too long: write at most {LONGEST_PROMPT} characters",
                reason=Reason.FORBIDDEN,
            ),
            min_length=None,
            max_length=1048576,
        ),
    )
    app_type: AppType = Field(
        description=(
            "What kind of app: webapp (pages, served as static files), api (a server in Node.js "
            "with Express), fullstack (such a server with pages and a "
            "database file) or script (a Python program that runs once; its output and files are "
            "shown on a page)."
        )
    )
    tier: Tier | None = Field(
        default=None,
        description=(
            "How much machine and how long a life, as the class defines it: light, standard or "
            "complex. When it is not set: light for a webapp, standard for the others."
        ),
    )
    user: str | None = Field(
        default=None,
        description=(
            "Whom limits and cost belong to, such as a login name or an e-mail address, up to 253 "
            "characters: yourself as the API server knows you (`kubectl auth whoami`), or the "
            "namespace. To name anybody else takes the right to set spawnsessions/user. When it "
            "is not set: the namespace."
        ),
        examples=["dana@example.com"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", r"^[^\pC\s]([^\pC]*[^\pC\s])?$"),
                message=(
                    "write a user without blanks around it and without line breaks, such as "
                    "dana@example.com"
                ),
            ),
            max_length=253,
        ),
    )
    class_name: str | None = Field(
        default=None,
        description=(
            "The SpawnClass to use; `kubectl get spawnclasses` lists them. When it is not set: the "
            "default class at the time the session begins."
        ),
        examples=["standard"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message=(
                    "write the name of a SpawnClass (small letters, digits, - and .), one of those "
                    "that `kubectl get spawnclasses` lists"
                ),
            ),
            max_length=253,
        ),
    )
    region: str | None = Field(
        default=None,
        description=(
            "The DigitalOcean region to run in, as a slug. When it is not set: the first region of "
            "the class (or of the location) that has capacity."
        ),
        examples=["ams3"],
        json_schema_extra=for_api_server(
            Rule(rule=cel_matches("self", REGION_PATTERN), message=REGION_HELP), max_length=16
        ),
    )
    location: str | None = Field(
        default=None,
        description=(
            "A place that the class names in spec.locations; it stands for regions in order of "
            "preference. A region, where one is set, wins. When neither is set: the class's own "
            "order of regions."
        ),
        examples=["europe"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", LABEL_PATTERN),
                message=(
                    "write a location that the class names in spec.locations (small letters, "
                    "digits and -), such as europe"
                ),
            ),
            max_length=63,
        ),
    )
    env: list[Variable] | None = Field(
        default=None,
        max_length=16,
        description=(
            "Keys for the app, as environment variables, at most 16: each from a Secret that its "
            "owner offers to the operator (docs/app-keys.md). They reach the app's process alone, "
            "never Claude, a log or the app's files."
        ),
        json_schema_extra=for_api_server(
            x_kubernetes_list_type="map", x_kubernetes_list_map_keys=["name"]
        ),
    )


class DropletStatus(ApiModel):
    """The droplet of a session."""

    id: int = Field(description="DigitalOcean's id of the droplet.")
    name: Identifier = Field(description="The droplet's name, made from the session's UID.")
    ip: Identifier | None = Field(
        default=None, description="Its public IPv4 address, once it has one."
    )


class GenerationStatus(ApiModel):
    """What Claude was asked and what it cost in tokens."""

    model: Identifier = Field(description="The Claude model that wrote the app.")
    bundle_digest: Identifier | None = Field(
        default=None, description="The SHA-256 of the app that was written, once it was kept."
    )
    input_tokens: int = Field(default=0, description="Input tokens that were paid for.")
    output_tokens: int = Field(default=0, description="Output tokens that were paid for.")
    repairs: int = Field(
        default=0, description="How often Claude was asked to repair what it had written: 0 to 2."
    )


class RevisionStatus(ApiModel):
    """One version of the app, or the try of one."""

    revision: int = Field(description="Its number, from 1 on; each app that was written has one.")
    prompt_digest: Identifier = Field(
        description="The SHA-256 of the prompt that it was made for, in hex."
    )
    bundle_digest: Identifier | None = Field(
        default=None, description="The SHA-256 of its files; none when no app was written."
    )
    at: Moment = Field(description="When it began to run, or was given up.")
    failed: bool = Field(
        default=False, description="Whether it did not work, so that the one before stayed."
    )


class PriceStatus(ApiModel):
    """What the user is charged, in decimal strings."""

    model: Identifier = Field(
        default="None", description="How the class sets prices: None: nobody is charged."
    )
    estimated: Amount | None = Field(
        default=None, description="What the whole life is expected to be charged."
    )
    lowest: Amount | None = Field(
        default=None,
        description=(
            "What is expected when processor and memory are idle all the time; only where the "
            "price depends on them."
        ),
    )
    highest: Amount | None = Field(
        default=None,
        description="What is expected when processor and memory are busy all the time.",
    )
    final: Amount | None = Field(
        default=None,
        description="What is charged, known once everything was seen gone. What never ran: 0.",
    )
    cpu: Amount | None = Field(
        default=None,
        description="The factor for the processor in the final price, from 0.8 to 1.2.",
    )
    memory: Amount | None = Field(
        default=None, description="The factor for the memory in the final price, from 0.8 to 1.2."
    )


class CostStatus(ApiModel):
    """What the session costs, in decimal strings."""

    currency: Identifier = Field(default="USD", description="The currency (ISO 4217): USD.")
    estimated: Amount | None = Field(
        default=None,
        description=(
            "What the whole life is expected to cost: the droplet to the end, and what Claude "
            "usually takes for such an app. It stays when the actual cost is known."
        ),
    )
    running: Amount | None = Field(
        default=None,
        description=(
            "What had been spent at the last step of the session's life. To know it now, add "
            "hourly for the time since."
        ),
    )
    claude: Amount | None = Field(default=None, description="What of running was paid to Claude.")
    actual: Amount | None = Field(
        default=None, description="What was spent, known once everything was seen gone."
    )
    hourly: Amount | None = Field(default=None, description="What the droplet costs per hour.")
    price: PriceStatus | None = Field(default=None, description="What the user is charged.")

    @model_validator(mode="before")
    @classmethod
    def _from_before_prices(cls, value: Any) -> Any:
        """`price` was what `hourly` is, in statuses of operators before prices."""
        if isinstance(value, Mapping) and isinstance(value.get("price"), str):
            rest = {key: one for key, one in value.items() if key != "price"}
            return {"hourly": value["price"], **rest}
        return value


class SessionStatus(ApiModel):
    """What is true about the session now. Written by the operator only."""

    observed_generation: int | None = Field(
        default=None,
        description=(
            "The metadata.generation that this status was decided for; -1 before the operator has "
            "looked at the object."
        ),
        json_schema_extra=for_api_server(minimum=-1),
    )
    phase: Phase | None = Field(
        default=None,
        description=(
            "Where the session is in its life, for people: Requested, Provisioning, Generating, "
            "Deploying, Running, Destroying, Destroyed. While several things are under way, the "
            "earliest that is still missing. Machines read the conditions."
        ),
    )
    progress: int | None = Field(
        default=None,
        ge=0,
        le=100,
        description=(
            "How far the way to a running app has been gone, in percent: about 20 while the "
            "droplet is made, 50 while Claude writes, 80 while the app is installed, 100 when it "
            "answers."
        ),
    )
    message: Text | None = Field(
        default=None, description="What is happening, or what went wrong: a sentence for people."
    )
    conditions: list[Condition] = conditions_field(
        "What is true about the session, for machines: Ready, Reconciling, Stalled, Admitted, "
        "DropletReady, FirewallReady, LoadBalancerReady, DNSReady, CertificateReady, Generated, "
        "AppHealthy, Inspected, Degraded, UpdateFailed, ExpiringSoon, Expired, CleanupComplete."
    )
    url: Text | None = Field(default=None, description="Where the app answers.")
    class_name: Identifier | None = Field(
        default=None, description="The SpawnClass that serves the session, chosen once."
    )
    tier: Tier | None = Field(default=None, description="The tier in force.")
    region: Identifier | None = Field(
        default=None, description="The DigitalOcean region of the droplet."
    )
    size: Identifier | None = Field(default=None, description="The size (slug) of the droplet.")
    started_at: Moment | None = Field(
        default=None, description="When the operator began to make things for the session."
    )
    ready_at: Moment | None = Field(
        default=None, description="When the app first answered. The lifetime counts from here."
    )
    expiration_time: Moment | None = Field(
        default=None,
        description=(
            "When the session ends and all that it uses is destroyed. To move it, change the "
            "annotation spawn-ai.com/ttl or spawn-ai.com/expires-at."
        ),
    )
    expiry_warned_for: Moment | None = Field(
        default=None, description="The end that the last warning was about."
    )
    destroyed_at: Moment | None = Field(
        default=None, description="When everything the session used had been seen gone."
    )
    termination_reason: Identifier | None = Field(
        default=None,
        description="Why the session ended, in one word, such as Expired or AppCrashed.",
    )
    droplet: DropletStatus | None = Field(
        default=None, description="The droplet, once there is one."
    )
    generation: GenerationStatus | None = Field(
        default=None, description="What Claude was asked, and what was paid for it in tokens."
    )
    revision: int | None = Field(
        default=None, description="The version of the app that runs: 1 at first."
    )
    revisions: list[RevisionStatus] = Field(
        default_factory=list,
        description="The last versions of the app, at most five, oldest first.",
        json_schema_extra=for_api_server(max_items=5, x_kubernetes_list_type="atomic"),
    )
    ran_seconds: int | None = Field(
        default=None,
        description="How long a script ran, in seconds, once it has ended well; none for others.",
    )
    note: Text | None = Field(
        default=None, description="What Claude says of the app: what it does and what was left out."
    )
    cost: CostStatus | None = Field(default=None, description="What the session costs.")


SPAWN_SESSION = CustomResource(
    kind="SpawnSession",
    plural="spawnsessions",
    short_names=("ss",),
    selectable=(".status.phase", ".status.terminationReason"),
    namespaced=True,
    description=(
        "A SpawnSession is one ephemeral app on a server of its own: say what app you want, and "
        "minutes later it runs at status.url; when its time is over, everything it used is "
        "destroyed, and the session stays behind as a receipt with its final cost. Its lifetime is "
        "an annotation that can be changed at any time: spawn-ai.com/ttl (a duration such as 2h, "
        "counted from the moment the app is ready) or spawn-ai.com/expires-at (an RFC 3339 time, "
        'or "now"; it wins over ttl). When neither is set: the lifetime of the tier.'
    ),
    spec=SessionSpec,
    spec_description=(
        "The order: what app, on what machine, for whom. Once the session exists, only the prompt "
        "can be changed."
    ),
    status=SessionStatus,
    status_description="What is true about the session now. Written by the operator only.",
    # An operator that is down would leave a blank row in `kubectl get`.
    first_status={"phase": Phase.REQUESTED.value},
    columns=(
        Column(
            "Status",
            ".status['terminationReason','phase']",
            "Why the session ended or is ending, or else where it is in its life.",
        ),
        Column(
            "Ready",
            '.status.conditions[?(@.type=="Ready")].status',
            "Whether the app answers; empty when the session has ended in good order.",
        ),
        Column("URL", ".status.url", "Where the app answers."),
        Column(
            "Expires",
            ".status.expirationTime",
            # A column of type date would print <invalid> for a time to come.
            "When the session ends, as a time (UTC): the API server prints how long ago something "
            "was, but never how long it will still take.",
        ),
        Column(
            "Cost",
            ".status.cost['actual','estimated']",
            "US dollars: what is known to have been spent, or else what is expected in all.",
        ),
        Column("Age", ".metadata.creationTimestamp", "Time since the order.", type="date"),
        Column("Phase", ".status.phase", "Where the session is in its life.", priority=1),
        Column("Type", ".spec.appType", "The kind of app.", priority=1),
        Column("Progress", ".status.progress", "Percent.", type="integer", priority=1),
        Column("Region", ".status.region", "The region of the droplet.", priority=1),
        Column("Size", ".status.size", "The size of the droplet.", priority=1),
        Column("IP", ".status.droplet.ip", "The address of the droplet.", priority=1),
        Column("Message", ".status.message", "What is happening, or went wrong.", priority=1),
    ),
)
