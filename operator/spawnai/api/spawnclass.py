"""SpawnClass: what the platform team offers and what it limits."""

from collections.abc import Callable
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from .base import ApiModel, Identifier
from .conditions import Condition, conditions_field
from .durations import DURATION_HELP, MAX_LENGTH, parse_duration
from .resource import Column, CustomResource
from .schema import (
    Rule,
    cel_is_duration,
    cel_matches,
    cel_seconds,
    decimal_field,
    for_api_server,
)
from .session import LABEL_PATTERN, NAME_PATTERN, REGION_HELP, REGION_PATTERN, Tier

DEFAULT_REGIONS = ["nyc3", "sfo3", "ams3", "sgp1", "fra1", "lon1", "tor1"]

_KEY_PATTERN = "^[-._a-zA-Z0-9]+$"  # a key in a Secret's data
_SLUG_PATTERN = "^[a-z0-9]([a-z0-9._-]*[a-z0-9])?$"
_MODEL_PATTERN = "^[A-Za-z0-9]([A-Za-z0-9._:/@-]*[A-Za-z0-9])?$"
_OCTET = "(25[0-5]|2[0-4][0-9]|1?[0-9]?[0-9])"
_IPV4_PATTERN = rf"^({_OCTET}\.){{3}}{_OCTET}$"
# RFC 1035, section 2.3.1, in small letters, with at least one dot.
_DOMAIN_PATTERN = r"^([a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\.)+[a-z]([-a-z0-9]{0,61}[a-z0-9])?$"
# A host name has at most 253 characters, and a session's own label takes 63 of them and a dot.
_LONGEST_DOMAIN = 189


def _is_duration(text: str) -> str:
    parse_duration(text)
    return text


Duration = Annotated[str, AfterValidator(_is_duration)]


def _duration(least: str, most: str) -> Callable[[JsonDict], None]:
    """The rules of a duration between two others, both included."""
    seconds = cel_seconds("self")
    within = f"{seconds} >= {_seconds(least)} && {seconds} <= {_seconds(most)}"
    return for_api_server(
        Rule(
            rule=cel_is_duration("self"),
            message=f"this is not a duration: {DURATION_HELP}",
        ),
        # What is not a duration has been refused above; here it must not end in an error of CEL.
        Rule(
            rule=f"!{cel_is_duration('self')} || ({within})",
            message=f"write a duration from {least} to {most}",
        ),
        max_length=MAX_LENGTH,
    )


def _seconds(duration: str) -> int:
    return int(parse_duration(duration).total_seconds())


RegionSlug = Annotated[
    str,
    Field(
        json_schema_extra=for_api_server(
            Rule(rule=cel_matches("self", REGION_PATTERN), message=REGION_HELP), max_length=16
        )
    ),
]
_RegionsOfLocation = Annotated[
    list[RegionSlug],
    Field(max_length=16, json_schema_extra=for_api_server(x_kubernetes_list_type="atomic")),
]
SizeSlug = Annotated[
    str,
    Field(
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _SLUG_PATTERN),
                message="write a DigitalOcean size slug such as s-1vcpu-1gb",
            ),
            max_length=64,
        )
    ),
]
AddressRange = Annotated[
    str,
    Field(
        json_schema_extra=for_api_server(
            Rule(
                rule="isIP(self) || isCIDR(self)",
                message=(
                    "write an IP address or a range in CIDR notation, such as 203.0.113.7 or "
                    "203.0.113.0/24"
                ),
            ),
            max_length=64,
        )
    ),
]


_LabelValue = Annotated[str, Field(json_schema_extra=for_api_server(max_length=63))]


class ExposureMode(StrEnum):
    """How the world reaches an app."""

    DIRECT = "Direct"
    WILDCARD = "Wildcard"
    LOAD_BALANCER = "LoadBalancer"


class Https(StrEnum):
    """Whether apps are served with HTTPS."""

    REQUIRE = "Require"
    PREFER = "Prefer"
    OFF = "Off"


class Inspection(StrEnum):
    """Whether pages are opened in a browser before they count as Ready."""

    OFF = "Off"
    WARN = "Warn"
    REQUIRE = "Require"


class FirewallMode(StrEnum):
    """One firewall for all sessions of the class, or one for each."""

    SHARED = "Shared"
    PER_SESSION = "PerSession"


def _secret_key(purpose: str) -> Callable[[JsonDict], None]:
    return for_api_server(
        Rule(
            rule=cel_matches("self", _KEY_PATTERN),
            message=(
                f"write the key in the Secret's data that holds {purpose} (letters, digits, -, _ "
                "and .)"
            ),
        ),
        max_length=253,
    )


class CredentialsSpec(ApiModel):
    """Where the keys are: a Secret in the operator's namespace."""

    secret_name: str = Field(
        default="spawnai-credentials",
        description="The name of a Secret in the operator's namespace that holds the keys.",
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message=(
                    "write the name of a Secret in the operator's namespace (small letters, "
                    "digits, - and .)"
                ),
            ),
            max_length=253,
        ),
    )
    digital_ocean_token_key: str = Field(
        default="digitalocean-token",
        description=(
            "The key in that Secret under which the DigitalOcean API token is. The token needs to "
            "read and write droplets, firewalls, tags and (with a domain) domains."
        ),
        json_schema_extra=_secret_key("the DigitalOcean token"),
    )
    anthropic_api_key_key: str = Field(
        default="anthropic-api-key",
        description="The key in that Secret under which the Anthropic API key is.",
        json_schema_extra=_secret_key("the Anthropic API key"),
    )


class TierSpec(ApiModel):
    """What one tier means: sizes in order of preference, and the default lifetime."""

    sizes: list[SizeSlug] = Field(
        min_length=1,
        max_length=8,
        description=(
            "DigitalOcean size slugs in order of preference, at least one and at most 8: the next "
            "is taken where the one before has no capacity."
        ),
        examples=['["s-1vcpu-1gb", "s-1vcpu-2gb"]'],
        json_schema_extra=for_api_server(
            Rule(
                rule="size(self) > 0",
                message="write at least one DigitalOcean size slug such as s-1vcpu-1gb",
            ),
            min_items=None,
            x_kubernetes_list_type="atomic",
        ),
    )
    ttl: Duration = Field(
        description=(
            "How long a session of this tier lives when its annotations say nothing; counted from "
            "the moment the app is ready."
        ),
        examples=["2h", "1h30m", "3d"],
        json_schema_extra=_duration("1s", "365d"),
    )


class TiersSpec(ApiModel):
    """The three tiers."""

    light: TierSpec = Field(
        default=TierSpec(sizes=["s-1vcpu-1gb"], ttl="2h"),
        description="The tier of a webapp that asks for none.",
    )
    standard: TierSpec = Field(
        default=TierSpec(sizes=["s-2vcpu-2gb"], ttl="24h"),
        description="The tier of an api or a script that asks for none.",
    )
    complex: TierSpec = Field(
        default=TierSpec(sizes=["s-2vcpu-4gb"], ttl="72h"),
        description="The tier for apps that need more machine or a longer life.",
    )


class PlacementMode(StrEnum):
    """How a region is chosen for a session that names none."""

    ORDERED = "Ordered"
    SPREAD = "Spread"


class OnAppFailure(StrEnum):
    """What becomes of a session whose app has stopped for good."""

    KEEP = "Keep"
    END = "End"
    REPAIR = "Repair"


class OnDropletFailure(StrEnum):
    """What becomes of a session whose droplet is lost, or does not come back."""

    REPLACE = "Replace"
    END = "End"
    KEEP = "Keep"


class HealthSpec(ApiModel):
    """How running apps are watched, and what is done about one that fails."""

    interval: Duration = Field(
        default="30s",
        description=(
            "How often an app is asked for, by the agent on its droplet, and by the operator from "
            "outside."
        ),
        json_schema_extra=_duration("1s", "1h"),
    )
    timeout: Duration = Field(
        default="5s",
        description="How long an answer may take.",
        json_schema_extra=_duration("1s", "1m"),
    )
    failures: int = Field(
        default=3,
        ge=1,
        le=20,
        description=(
            "After how many failures in a row an app is started again by its agent, and taken for "
            "silent by the operator: 1 to 20."
        ),
    )
    grace: Duration = Field(
        default="60s",
        description="How long an app may take after each start until its first answer.",
        json_schema_extra=_duration("1s", "30m"),
    )
    on_app_failure: OnAppFailure = Field(
        default=OnAppFailure.KEEP,
        description=(
            "What becomes of a session whose app stopped for good after it was ready (it was "
            "started again five times within ten minutes). Keep: it stays until its time is over, "
            "so that its owner can look. End: everything it used is destroyed. Repair: Claude "
            "changes the app with the first error and the last lines of its log, and the new "
            "version takes its place once it works. This uses the repairs that an app has in all "
            "(two, with those before it was ready) and costs as a change of the prompt does; "
            "after that the app stays as with Keep."
        ),
    )
    on_droplet_failure: OnDropletFailure = Field(
        default=OnDropletFailure.REPLACE,
        description=(
            "What becomes of a running session whose droplet was lost, or does not come back after "
            "it was switched on or rebooted once. Replace: the same app runs on another droplet, "
            "once in a session's life, until the same end. End: everything it used is destroyed. "
            "Keep: nothing is switched on, rebooted or replaced; a session whose droplet was "
            "deleted ends."
        ),
    )


class LifetimeSpec(ApiModel):
    """How long sessions may live, and how they end. All are durations."""

    max: Duration = Field(
        default="72h",
        description=(
            "The longest life, counted from the moment the app is ready. What a tier or an "
            "annotation asks beyond it is capped, and the session says so."
        ),
        json_schema_extra=_duration("1s", "365d"),
    )
    provisioning_deadline: Duration = Field(
        default="10m",
        description=(
            "How long the way from the order to a running app may take. After it the session ends "
            "and everything it used is destroyed."
        ),
        json_schema_extra=_duration("1s", "1d"),
    )
    notice: Duration = Field(
        default="2m",
        description=(
            "How long a session still lives when a changed annotation would have ended it in the "
            "past. (0s and now end a session at once.)"
        ),
        json_schema_extra=_duration("0s", "1d"),
    )
    warning: Duration = Field(
        default="5m",
        description="How long before the end a session warns of it, with an event. 0s: never.",
        json_schema_extra=_duration("0s", "7d"),
    )
    graceful_stop: Duration = Field(
        default="5s",
        description=(
            "How long before the end the app is told to stop (SIGTERM), so that it can save what "
            "it has. From then on its address says that the session has ended. The droplet's "
            "deletion does not wait for it. 0s: the app is not told."
        ),
        json_schema_extra=_duration("0s", "30s"),
    )
    dead_man_grace: Duration = Field(
        default="10m",
        description=(
            "How long after the end a droplet powers itself off when no operator has destroyed it."
        ),
        json_schema_extra=_duration("1s", "1d"),
    )
    ttl_after_finished: Duration | None = Field(
        default=None,
        description=(
            "How long an ended SpawnSession is kept before the operator deletes the object, which "
            "frees its place in a quota. When it is not set: until somebody deletes it. A session "
            "that Argo CD or Flux holds is never deleted, since they would make it again."
        ),
        examples=["7d"],
        json_schema_extra=_duration("0s", "3650d"),
    )


class Effort(StrEnum):
    """How much thought Claude gives to an app (output_config.effort of the Messages API)."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class ModelSpec(ApiModel):
    """Which Claude model writes the apps."""

    name: str = Field(
        default="claude-sonnet-5-5",
        description="The id of the Claude model, as Anthropic's API names it.",
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _MODEL_PATTERN),
                message="write the id of a Claude model such as claude-sonnet-5-5",
            ),
            max_length=128,
        ),
    )
    fallback: str | None = Field(
        default=None,
        description=(
            "Another Claude model, asked once when the first one refuses an order or stays "
            "overloaded. When it is not set: such an order fails or waits."
        ),
        examples=["claude-opus-5-5"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _MODEL_PATTERN),
                message="write the id of a Claude model such as claude-opus-5-5",
            ),
            max_length=128,
        ),
    )
    max_output_tokens: int = Field(
        default=16000,
        ge=1024,
        le=64000,
        description=(
            "The most output tokens that one answer of Claude may cost, 1024 to 64000: about three "
            "bytes of source each. It also decides how long an answer may take. An answer that is "
            "cut is asked for once more, as a smaller app, and then ends with that reason."
        ),
    )
    effort: str = Field(
        default=Effort.MEDIUM.value,
        description=(
            "How much thought Claude gives to an app: low, medium, high, xhigh or max. More takes "
            "longer and costs more."
        ),
        json_schema_extra=for_api_server(enum=[effort.value for effort in Effort]),
    )


class TlsSpec(ApiModel):
    """Whose certificate the gateway or the load balancers have."""

    secret_name: str = Field(
        description=(
            "The name of a Secret of type kubernetes.io/tls in the operator's namespace, with the "
            "certificate for *.domain. Whoever fills it renews it: cert-manager, for example. The "
            "operator looks whether it fits and how long it lasts."
        ),
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message=(
                    "write the name of a Secret in the operator's namespace (small letters, "
                    "digits, - and .)"
                ),
            ),
            max_length=253,
        ),
    )


class LoadBalancerSpec(ApiModel):
    """The load balancers of a class."""

    max: int = Field(
        default=10,
        ge=1,
        le=1000,
        description=(
            "How many sessions with a load balancer of their own may live at once; each costs "
            "DigitalOcean's price for one node. More of them wait in a queue. The account has a "
            "limit of its own, often 10."
        ),
    )


class ExposureSpec(ApiModel):
    """How apps are reached."""

    model_config = ConfigDict(
        json_schema_extra=for_api_server(
            Rule(
                rule="!has(self.mode) || self.mode != 'Wildcard' || has(self.domain)",
                message="mode Wildcard needs a domain: write the one that the gateway serves",
            ),
            Rule(
                rule="!has(self.mode) || self.mode != 'LoadBalancer' || has(self.domain)",
                message="mode LoadBalancer needs a domain: write the one that apps get names below",
            ),
            Rule(
                rule="!has(self.mode) || self.mode != 'LoadBalancer' || !has(self.https) || "
                "self.https != 'Off'",
                message="mode LoadBalancer serves HTTPS by its load balancers: leave https out, or "
                "set mode Direct",
            ),
            Rule(
                rule="!has(self.loadBalancer) || (has(self.mode) && self.mode == 'LoadBalancer')",
                message="loadBalancer is for mode LoadBalancer: remove it or set it",
            ),
            Rule(
                rule="!has(self.mode) || self.mode != 'Wildcard' || !has(self.https) || "
                "self.https != 'Off'",
                message="mode Wildcard serves HTTPS by its gateway: leave https out, or set mode "
                "Direct",
            ),
            Rule(
                rule="!has(self.gatewayAddress) || (has(self.mode) && self.mode == 'Wildcard')",
                message="gatewayAddress is for mode Wildcard: remove it or set it",
            ),
            Rule(
                rule="!has(self.tls) || (has(self.mode) && self.mode != 'Direct')",
                message="tls is for the modes Wildcard and LoadBalancer: remove it or set one",
            ),
        )
    )

    mode: ExposureMode = Field(
        default=ExposureMode.DIRECT,
        description=(
            "Direct: each app is reached at its droplet, by a DNS record and a certificate of its "
            "own. Wildcard: all apps are reached through a gateway, to which *.domain leads and "
            "which has the certificate for it; a session then costs no DNS record and no "
            "certificate. LoadBalancer: each app has a DigitalOcean load balancer of its own, "
            "which costs more than most droplets and takes minutes. Both need a domain."
        ),
    )
    domain: str | None = Field(
        default=None,
        description=(
            "The domain below which apps get their host names; DigitalOcean must serve it, in the "
            "account of the token. When it is not set: apps are reached at their addresses, with "
            "HTTPS all the same."
        ),
        examples=["apps.example.com"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _DOMAIN_PATTERN),
                message=(
                    "write a domain in small letters, without a dot at its end, such as "
                    "apps.example.com"
                ),
            ),
            max_length=_LONGEST_DOMAIN,
        ),
    )
    tls: TlsSpec | None = Field(
        default=None,
        description=(
            "With mode Wildcard or LoadBalancer: the Secret that holds the certificate for "
            "*.domain. Not set: with Wildcard the operator orders it, renews it and keeps it in "
            "Secret spawnai-gateway-tls; with LoadBalancer DigitalOcean does."
        ),
    )
    gateway_address: str | None = Field(
        default=None,
        description=(
            "With mode Wildcard: the IPv4 address of the gateway, to which *.domain is to lead. "
            "Not set: the one of the load balancer of Service spawnai-gateway."
        ),
        examples=["203.0.113.7"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _IPV4_PATTERN),
                message="write an IPv4 address such as 203.0.113.7",
            ),
            max_length=15,
        ),
    )
    load_balancer: LoadBalancerSpec | None = Field(
        default=None,
        description="With mode LoadBalancer: how many there may be. Not set: its default.",
    )
    record_ttl_seconds: int = Field(
        default=30,
        ge=30,
        le=86400,
        description="How long resolvers may keep an app's DNS record, in seconds: 30 to 86400.",
    )
    https: Https = Field(
        default=Https.PREFER,
        description=(
            "Prefer: each app gets a certificate, and is reached by HTTP when none can be had; the "
            "condition CertificateReady says why. Require: an app without a certificate is not "
            "ready. Off: apps are reached by HTTP, only with mode Direct."
        ),
    )
    http_port: int = Field(
        default=80, ge=1, le=65535, description="The port at which apps answer plain HTTP."
    )
    https_port: int = Field(
        default=443, ge=1, le=65535, description="The port at which apps answer HTTPS."
    )

    @property
    def most_load_balancers(self) -> int | None:
        """How many sessions with a load balancer may live at once; None: it makes none."""
        if self.mode is not ExposureMode.LOAD_BALANCER:
            return None
        return (self.load_balancer or LoadBalancerSpec()).max


class FirewallSpec(ApiModel):
    """Who may reach the droplets."""

    mode: FirewallMode = Field(
        default=FirewallMode.SHARED,
        description=(
            "Shared: one firewall covers all sessions of the class and is there before a droplet "
            "boots. PerSession: each session has one of its own, which goes with it."
        ),
    )
    operator_addresses: list[AddressRange] = Field(
        default_factory=list,
        max_length=32,
        description=(
            "The addresses from which the operator reaches the droplets' agents, at most 32, each "
            "an IP address or a range in CIDR notation. Empty: from anywhere; the agent still "
            "demands a session's own token."
        ),
        examples=['["203.0.113.0/24"]'],
        json_schema_extra=for_api_server(x_kubernetes_list_type="set"),
    )
    ssh: bool = Field(
        default=False,
        description="Whether port 22 is open, to private address ranges only.",
    )


class ImageSpec(ApiModel):
    """The image that droplets start from, as it is or with the runtime in it."""

    name: str = Field(
        default="ubuntu-24-04-x64",
        description=(
            "A DigitalOcean slug, or the number of an image or snapshot. Ubuntu 24.04 and Debian "
            "12 work as they are."
        ),
        examples=["debian-12-x64"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", _SLUG_PATTERN),
                message=(
                    "write the slug of an image such as ubuntu-24-04-x64, or the number of an "
                    "image of your own"
                ),
            ),
            max_length=128,
        ),
    )
    baked: bool = Field(
        default=False,
        description=(
            "Whether the operator keeps a snapshot of that image with Node.js, Caddy and npm's "
            "cache in it, in every region of the class, and starts droplets from it: they boot "
            "sooner. It costs some cents a month. Where there is none yet, droplets start from the "
            "image itself."
        ),
    )
    max_age: Duration = Field(
        default="7d",
        description=(
            "After how long a baked image is made anew, so that it has the updates of the image it "
            "is made of."
        ),
        json_schema_extra=_duration("1d", "365d"),
    )

    @model_validator(mode="before")
    @classmethod
    def _of_text(cls, given: Any) -> Any:
        """Classes stored before images could be baked hold the name alone."""
        return {"name": given} if isinstance(given, str) else given


class RecordsSpec(ApiModel):
    """How long the ledger of an ended session is kept."""

    retention: Duration = Field(
        default="30d",
        description=(
            "How long a SpawnRecord is kept after its session has ended and all it used is gone."
        ),
        json_schema_extra=_duration("0s", "3650d"),
    )


class NoticeChannel(StrEnum):
    """Where notices go."""

    DISCORD = "Discord"
    SLACK = "Slack"
    WEBHOOK = "Webhook"


class NoticeEvent(StrEnum):
    """What people are told of."""

    READY = "Ready"
    EXPIRING = "Expiring"
    FAILED = "Failed"
    ENDED = "Ended"
    COST = "Cost"
    QUEUED = "Queued"
    BUDGET = "Budget"


class NoticeSecret(ApiModel):
    """The Secret that holds the address of a channel."""

    name: str = Field(
        description=(
            "The name of a Secret in the operator's namespace. Its key `url` is the webhook's "
            "address; for a Webhook, `signing-key` is what its messages are signed with."
        ),
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", NAME_PATTERN),
                message=(
                    "write the name of a Secret in the operator's namespace (small letters, "
                    "digits, - and .)"
                ),
            ),
            max_length=253,
        ),
    )


class NoticeSpec(ApiModel):
    """One channel that people are told in."""

    type: NoticeChannel = Field(
        description=(
            "Discord or Slack: an incoming webhook of a channel. Webhook: JSON to an address of "
            "your own, signed with HMAC-SHA-256."
        )
    )
    secret_ref: NoticeSecret = Field(description="The Secret that holds its address.")
    events: list[NoticeEvent] = Field(
        default_factory=lambda: list(NoticeEvent),
        max_length=len(NoticeEvent),
        description=(
            "What is told there: Ready, Expiring (the warning before the end), Failed, Ended, Cost "
            "(more than 150 % of the estimate), Queued (over a limit), Budget (no money left). "
            "Default: all."
        ),
        json_schema_extra=for_api_server(
            Rule(rule="size(self) > 0", message="the list is empty: write at least one event"),
            x_kubernetes_list_type="set",
        ),
    )


class NamespacesFrom(StrEnum):
    """Which namespaces may use a class."""

    ALL = "All"
    SELECTOR = "Selector"


class SelectorOperator(StrEnum):
    """How a key of a label relates to values, as in every Kubernetes selector."""

    IN = "In"
    NOT_IN = "NotIn"
    EXISTS = "Exists"
    DOES_NOT_EXIST = "DoesNotExist"


class SelectorRequirement(ApiModel):
    """One line of a label selector's matchExpressions."""

    model_config = ConfigDict(
        json_schema_extra=for_api_server(
            Rule(
                rule=(
                    "self.operator in ['In', 'NotIn'] ? has(self.values) && size(self.values) > 0"
                    " : !has(self.values) || size(self.values) == 0"
                ),
                message="write values for In and NotIn, and none for Exists and DoesNotExist",
            )
        )
    )

    key: str = Field(
        description="The key of the label.",
        json_schema_extra=for_api_server(min_length=1, max_length=317),
    )
    operator: SelectorOperator = Field(
        description="In, NotIn, Exists or DoesNotExist, as in every Kubernetes selector."
    )
    values: list[_LabelValue] = Field(
        default_factory=list,
        max_length=32,
        description="The values, for In and NotIn.",
        json_schema_extra=for_api_server(x_kubernetes_list_type="atomic"),
    )


class LabelSelector(ApiModel):
    """A label selector, in the shape of metav1.LabelSelector. All of its parts must hold."""

    match_labels: dict[str, _LabelValue] = Field(
        default_factory=dict,
        max_length=32,
        description="Labels that a namespace must have with exactly these values.",
        examples=["{spawn-ai.com/tenant: shop}"],
    )
    match_expressions: list[SelectorRequirement] = Field(
        default_factory=list,
        max_length=32,
        description="Further conditions on labels.",
        json_schema_extra=for_api_server(x_kubernetes_list_type="atomic"),
    )


class AllowedNamespaces(ApiModel):
    """Which namespaces may use the class, as a listener of the Gateway API says it."""

    model_config = ConfigDict(
        json_schema_extra=for_api_server(
            Rule(
                rule=(
                    "!has(self.from) || self.from != 'Selector' || (has(self.selector) && "
                    "((has(self.selector.matchLabels) && size(self.selector.matchLabels) > 0) || "
                    "(has(self.selector.matchExpressions) && "
                    "size(self.selector.matchExpressions) > 0)))"
                ),
                message=(
                    "write a selector with matchLabels or matchExpressions, or from: All to allow "
                    "every namespace"
                ),
            )
        )
    )

    from_: NamespacesFrom = Field(
        default=NamespacesFrom.ALL,
        alias="from",
        description="All: every namespace; Selector: those whose labels the selector matches.",
    )
    selector: LabelSelector = Field(
        default_factory=LabelSelector,
        description="Which namespaces, when from is Selector.",
    )


_SHA256_RULE = Rule(
    rule=cel_matches("self", "^[0-9a-f]{64}$"),
    message="write the SHA-256 as 64 hexadecimal digits; `spawnai runtime lock` prints it",
)


class RuntimeSpec(ApiModel):
    """What droplets install to run apps: the projects' own release archives."""

    mirror: str | None = Field(
        default=None,
        description=(
            "Where the archives are fetched from, instead of the projects' own hosts: an address "
            "below which they have their official names. A droplet must reach it at port 80 or 443."
        ),
        examples=["https://mirror.example.com/spawnai"],
        json_schema_extra=for_api_server(
            Rule(
                rule=cel_matches("self", "^https?://[!-~]+$"),
                message="write an address that begins with https:// or http://",
            ),
            max_length=512,
        ),
    )
    node_sha256: str | None = Field(
        default=None,
        description=(
            "The SHA-256 of Node.js's archive: a droplet unpacks no other. `spawnai runtime lock` "
            "prints it. When it is not set, the distribution's Node.js is installed, which is "
            "older than apps are written for."
        ),
        json_schema_extra=for_api_server(_SHA256_RULE, max_length=64),
    )
    caddy_sha256: str | None = Field(
        default=None,
        description=(
            "The SHA-256 of Caddy's archive: a droplet unpacks no other. `spawnai runtime lock` "
            "prints it. When it is not set, or the archive cannot be had, the distribution's Caddy "
            "is installed, which serves as well."
        ),
        json_schema_extra=for_api_server(_SHA256_RULE, max_length=64),
    )


class UserLimits(ApiModel):
    """How many sessions one user may have."""

    active: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description=(
            "How many sessions of one user may live at once. More of them wait in a queue. When it "
            "is not set: any number."
        ),
        examples=[3],
    )
    new_in15_minutes: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description=(
            "How many sessions of one user may begin within 15 minutes; deleting one does not take "
            "it back. More of them wait in a queue. When it is not set: any number."
        ),
        examples=[5],
    )


class NamespaceLimits(ApiModel):
    """How many sessions one namespace may have."""

    active: int | None = Field(
        default=None,
        ge=1,
        le=100000,
        description=(
            "How many sessions of one namespace may live at once. More of them wait in a queue. "
            "When it is not set: any number."
        ),
        examples=[10],
    )


class LimitsSpec(ApiModel):
    """How many sessions may live and begin."""

    per_user: UserLimits = Field(
        default_factory=UserLimits,
        description="Limits for one user: spec.user of a session, or its namespace.",
    )
    per_namespace: NamespaceLimits = Field(
        default_factory=NamespaceLimits, description="Limits for one namespace."
    )


class PricingModel(StrEnum):
    """How the price of a session is set."""

    NONE = "None"
    FLAT = "Flat"
    COST_PLUS = "CostPlus"
    DYNAMIC = "Dynamic"


_DOLLARS = 'write an amount of dollars as a string such as "0.15": no sign, at most six decimals'
_FACTOR = 'write a number as a string such as "0.05" or "3": no sign, at most six decimals'


class FlatPrices(ApiModel):
    """A price for each tier, in dollars."""

    light: str = decimal_field(
        "0.15",
        "US dollars for a session of tier light.",
        help_=_DOLLARS,
    )
    standard: str = decimal_field(
        "0.50",
        "US dollars for a session of tier standard.",
        help_=_DOLLARS,
    )
    complex: str = decimal_field(
        "2.50",
        "US dollars for a session of tier complex.",
        help_=_DOLLARS,
    )


class CostPlusPrices(ApiModel):
    """A price that follows the cost: cost x (1 + overhead) x multiplier, and at least minimum."""

    overhead: str = decimal_field(
        "0.05",
        "What is added to the cost for all else, as a share: 0.05 is five percent.",
        help_=_FACTOR,
    )
    multiplier: str = decimal_field(
        "1",
        "By what cost and overhead are multiplied; below 1 counts as 1.",
        help_=_FACTOR,
    )
    minimum: str = decimal_field(
        "0",
        "The lowest price of a session that ran, in US dollars.",
        help_=_DOLLARS,
    )


class TierMultipliers(ApiModel):
    """A factor for each tier."""

    light: str = decimal_field(
        "3.773",
        "The factor for a session of tier light; below 1 counts as 1.",
        help_=_FACTOR,
    )
    standard: str = decimal_field(
        "3.03",
        "The factor for a session of tier standard; below 1 counts as 1.",
        help_=_FACTOR,
    )
    complex: str = decimal_field(
        "2.375",
        "The factor for a session of tier complex; below 1 counts as 1.",
        help_=_FACTOR,
    )


class DynamicPrices(ApiModel):
    """A price that follows the use of the droplet: cost x (1 + overhead) x multiplier x processor x
    memory, never below cost and overhead, and at least minimum.

    Processor and memory are factors from 0.8 to 1.2.
    """

    overhead: str = decimal_field(
        "0.05",
        "What is added to the cost for all else, as a share: 0.05 is five percent.",
        help_=_FACTOR,
    )
    multipliers: TierMultipliers = Field(
        default_factory=TierMultipliers,
        description=(
            "By what cost and overhead are multiplied, before the factors for processor and memory."
        ),
    )
    minimum: str = decimal_field(
        "0",
        "The lowest price of a session that ran, in US dollars.",
        help_=_DOLLARS,
    )


class PricingSpec(ApiModel):
    """What users are charged."""

    model: str = Field(
        default=PricingModel.NONE.value,
        description=(
            "None: nobody is charged. Flat: a price for each tier. CostPlus: the cost with an "
            "overhead and a multiplier. Dynamic: the same, and up to 20 % more or less for a busy "
            "or idle processor and memory, as the droplet's agent measures them each minute. A "
            "session keeps the prices that held when it began; one that never ran is charged "
            "nothing."
        ),
        json_schema_extra=for_api_server(enum=[one.value for one in PricingModel]),
    )
    flat: FlatPrices = Field(
        default_factory=FlatPrices, description="The prices, when model is Flat."
    )
    cost_plus: CostPlusPrices = Field(
        default_factory=CostPlusPrices, description="How the price is made, when it is CostPlus."
    )
    dynamic: DynamicPrices = Field(
        default_factory=DynamicPrices, description="How the price is made, when it is Dynamic."
    )


class ClassSpec(ApiModel):
    """The offer."""

    credentials: CredentialsSpec = Field(
        default_factory=CredentialsSpec,
        description=(
            "Where the keys for DigitalOcean and Claude are: in a Secret in the operator's "
            "namespace. The class itself holds no key."
        ),
    )
    regions: list[RegionSlug] = Field(
        default_factory=lambda: list(DEFAULT_REGIONS),
        max_length=32,
        description=(
            "DigitalOcean region slugs in order of preference, at least one and at most 32: the "
            "next is tried where the one before has no capacity."
        ),
        json_schema_extra=for_api_server(
            Rule(rule="size(self) > 0", message=f"the list is empty: {REGION_HELP}"),
            x_kubernetes_list_type="atomic",
        ),
    )
    placement: PlacementMode = Field(
        default=PlacementMode.ORDERED,
        description=(
            "How a region is chosen, among those of the class or of the session's location. "
            "Ordered: the first that has capacity. Spread: the one in which the fewest of the "
            "class's droplets are. A region that had no capacity is left out for a minute."
        ),
    )
    locations: dict[str, _RegionsOfLocation] = Field(
        default_factory=dict,
        max_length=32,
        description=(
            "Names for groups of regions that users may ask for with spec.location, at most 32; "
            "each is a list of region slugs in order of preference."
        ),
        examples=["{europe: [ams3, fra1, lon1]}"],
        json_schema_extra=for_api_server(
            Rule(
                rule=f"self.all(name, {cel_matches('name', LABEL_PATTERN)})",
                message=(
                    "write the name of a location in small letters, digits and -, such as europe"
                ),
            ),
            Rule(
                rule="self.all(name, size(self[name]) > 0)",
                message=(
                    "write at least one region for each location, such as europe: [ams3, fra1]"
                ),
            ),
        ),
    )
    tiers: TiersSpec = Field(
        default_factory=TiersSpec,
        description="What the tiers light, standard and complex mean: sizes and default lifetime.",
    )
    allowed_namespaces: AllowedNamespaces = Field(
        default_factory=AllowedNamespaces,
        description=(
            "Which namespaces may use the class. A session in another one is told so and costs "
            "nothing; one that has begun goes on."
        ),
    )
    allowed_tiers: list[Tier] = Field(
        default_factory=lambda: list(Tier),
        max_length=3,
        description=(
            "Which tiers sessions of the class may have. One with another tier is told so and "
            "costs nothing."
        ),
        json_schema_extra=for_api_server(
            Rule(rule="size(self) > 0", message="the list is empty: write at least one tier"),
            x_kubernetes_list_type="atomic",
        ),
    )
    limits: LimitsSpec = Field(
        default_factory=LimitsSpec,
        description=(
            "How many sessions may live and begin at once. A session over a limit waits, and its "
            "condition Admitted says for what and in which place. The queue is fair over users."
        ),
    )
    image: ImageSpec = Field(
        default_factory=ImageSpec, description="What the disks of droplets start from."
    )
    lifetime: LifetimeSpec = Field(
        default_factory=LifetimeSpec,
        description=(
            "How long sessions may live, and how they end. All are durations such as 90m, 1h30m or "
            "3d (units d, h, m, s, in that order)."
        ),
    )
    model: ModelSpec = Field(
        default_factory=ModelSpec, description="Which Claude model writes the apps, and how."
    )
    inspection: Inspection = Field(
        default=Inspection.REQUIRE,
        description=(
            "Whether the page of a webapp or fullstack app is opened in a browser before the app "
            "is Ready. Require: an app whose page does not work is repaired, and ends with the "
            "reason PageBroken when its repairs do not help. Warn: it is Ready all the same, and "
            "the condition Inspected says what does not work. Off: no page is opened. Without an "
            "inspector beside the operator no page is opened either."
        ),
    )
    exposure: ExposureSpec = Field(
        default_factory=ExposureSpec, description="How the world reaches the apps."
    )
    runtime: RuntimeSpec = Field(
        default_factory=RuntimeSpec,
        description="Where droplets get Node.js and Caddy, and by which hashes they know them.",
    )
    health: HealthSpec = Field(
        default_factory=HealthSpec,
        description="How running apps are watched, and what is done about one that fails.",
    )
    firewall: FirewallSpec = Field(
        default_factory=FirewallSpec,
        description=(
            "Who may reach the droplets. Whatever is set here: in, only HTTP, HTTPS and the agent; "
            "out, only DNS, HTTP, HTTPS, NTP and ICMP."
        ),
    )
    pricing: PricingSpec = Field(
        default_factory=PricingSpec,
        description=(
            "What users are charged. It is shown before the order and in status.cost.price; "
            "nothing here collects money."
        ),
    )
    records: RecordsSpec = Field(
        default_factory=RecordsSpec,
        description="How long the ledgers of ended sessions are kept.",
    )
    notices: list[NoticeSpec] = Field(
        default_factory=list,
        max_length=8,
        description=(
            "Channels in which people are told what happens to the sessions of this class, at most "
            "8. Each news is sent once."
        ),
        json_schema_extra=for_api_server(x_kubernetes_list_type="atomic"),
    )


class ClassStatus(ApiModel):
    """Whether the class can be used now. Written by the operator only."""

    observed_generation: int | None = Field(
        default=None,
        description=(
            "The metadata.generation that this status was decided for; -1 before the operator has "
            "looked at the object."
        ),
        json_schema_extra=for_api_server(minimum=-1),
    )
    conditions: list[Condition] = conditions_field(
        "What is true about the class, for machines: Ready (sessions can use it), Stalled (the "
        "message says what is missing or wrong), CertificateReady (with mode Wildcard: the "
        "gateway has a certificate, and until when), ImageReady (with spec.image.baked: droplets "
        "start from the baked image in every region)."
    )
    firewall_id: Identifier | None = Field(
        default=None, description="DigitalOcean's id of the Shared firewall."
    )
    account_uuid: Identifier | None = Field(
        default=None,
        description="DigitalOcean's id of the account (the team) that everything is made in.",
    )


SPAWN_CLASS = CustomResource(
    kind="SpawnClass",
    plural="spawnclasses",
    namespaced=False,
    description=(
        "A SpawnClass is what the platform team offers to those who make SpawnSessions, and what "
        "it limits: keys, regions, sizes, lifetimes, the model, domain and firewall. The class "
        'with the annotation spawn-ai.com/is-default-class: "true" serves sessions that name none '
        "(the newest, where several have it). Every field has a default; an empty spec is a "
        "working class once its Secret exists."
    ),
    spec=ClassSpec,
    spec_description=(
        "The offer. A change counts for sessions that begin later; limits on time count at once."
    ),
    status=ClassStatus,
    status_description="Whether the class can be used now. Written by the operator only.",
    columns=(
        Column(
            "Default",
            r".metadata.annotations.spawn-ai\.com/is-default-class",
            "Whether it serves sessions that name no class.",
        ),
        Column(
            "Ready",
            '.status.conditions[?(@.type=="Ready")].status',
            "Whether sessions can use it.",
        ),
        Column("Domain", ".spec.exposure.domain", "The domain of its apps."),
        Column("Model", ".spec.model.name", "The Claude model that writes its apps."),
        Column("Age", ".metadata.creationTimestamp", "Time since it was made.", type="date"),
        Column("Max-Life", ".spec.lifetime.max", "The longest life of a session.", priority=1),
        Column("Regions", ".spec.regions", "Its regions, in order.", priority=1),
        Column("Firewall", ".spec.firewall.mode", "Shared or PerSession.", priority=1),
        Column(
            "Message",
            '.status.conditions[?(@.type=="Ready")].message',
            "What is missing or wrong.",
            priority=1,
        ),
    ),
    defaults=True,
    spec_required=False,
)
