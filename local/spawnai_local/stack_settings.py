"""What a local stack is made of, and how a person chooses it with environment variables.

| variable | values |
|---|---|
| CLUSTER | `embedded` (default), or `kubeconfig`: the current KUBECONFIG's cluster |
| CLOUD | `local` (default), or `digitalocean`: real droplets, with your DIGITALOCEAN_TOKEN |
| CLAUDE | `simulator`, or `anthropic`: your ANTHROPIC_API_KEY, the default when it is set |
| INSTALL | `kubectl` (default): crds/ and manifests/; or `helm`: the chart helm/spawnai |
| DOMAIN | with CLOUD=digitalocean: a domain in that account for the apps' names |
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import TypeVar

from spawnai.api.spawnclass import LifetimeSpec, PricingSpec
from spawnai.settings import DEFAULT_DIGITALOCEAN_API_URL
from spawnai_local.classes import LAPTOP_LIFETIME, LOCAL_CLASS
from spawnai_local.cloud_settings import (
    LOCAL_ANTHROPIC_KEY,
    LOCAL_DIGITALOCEAN_TOKEN,
    CloudSettings,
)


class SettingsError(Exception):
    """An environment variable has a value that makes no sense; the message says what would."""


class Cluster(StrEnum):
    """Where the API server is."""

    EMBEDDED = "embedded"
    KUBECONFIG = "kubeconfig"


class Cloud(StrEnum):
    """Where droplets are made."""

    LOCAL = "local"
    DIGITALOCEAN = "digitalocean"


class Installer(StrEnum):
    """What puts the operator's objects into the cluster."""

    KUBECTL = "kubectl"
    HELM = "helm"


class Claude(StrEnum):
    """Who writes the apps."""

    SIMULATOR = "simulator"
    ANTHROPIC = "anthropic"


@dataclass(frozen=True, slots=True)
class StackSettings:
    """One stack. `directory` holds its pid files, logs and data, and is its alone."""

    directory: Path
    cluster: Cluster = Cluster.EMBEDDED
    kubeconfig: str | None = None
    """With Cluster.KUBECONFIG: the value of KUBECONFIG, or None for ~/.kube/config."""
    cloud: Cloud = Cloud.LOCAL
    claude: Claude = Claude.SIMULATOR
    installer: Installer = Installer.KUBECTL
    digitalocean_token: str = field(default=LOCAL_DIGITALOCEAN_TOKEN, repr=False)
    anthropic_api_key: str = field(default=LOCAL_ANTHROPIC_KEY, repr=False)
    digitalocean_api_url: str = DEFAULT_DIGITALOCEAN_API_URL
    """With Cloud.DIGITALOCEAN: where its API is."""
    domain: str | None = None
    local_cloud: CloudSettings = field(default_factory=CloudSettings)
    lifetime: LifetimeSpec = LAPTOP_LIFETIME
    pricing: PricingSpec = PricingSpec()  # noqa: RUF009 - a model of defaults
    default_class: str = LOCAL_CLASS
    """Which of the two local classes a session gets that names none."""
    https: bool = False
    """With Cloud.LOCAL: whether there is an ACME server, so that apps get certificates."""
    operator: bool = True
    """False: the caller runs operators itself."""
    inspector: bool = False
    """True: pages are opened in a browser before they are Ready, where this machine has one."""
    console: bool = False
    """True: the page and its API are served too."""
    api_server_flags: tuple[str, ...] = ()
    """With Cluster.EMBEDDED: added to kube-apiserver's own flags."""

    @property
    def outlives_us(self) -> bool:
        """Whether sessions would live on, unwatched, when the stack ends."""
        return self.cluster is Cluster.KUBECONFIG or self.cloud is Cloud.DIGITALOCEAN


def settings_from_environment(
    directory: Path, environment: Mapping[str, str] = os.environ
) -> StackSettings:
    """Read the variables of the module text.

    Raises:
        SettingsError: a value is unknown, or what it needs is missing.
    """
    cluster = _choice(Cluster, "CLUSTER", environment, Cluster.EMBEDDED)
    cloud = _choice(Cloud, "CLOUD", environment, Cloud.LOCAL)
    key = _own(environment, "ANTHROPIC_API_KEY", LOCAL_ANTHROPIC_KEY)
    claude = _choice(
        Claude, "CLAUDE", environment, Claude.SIMULATOR if key is None else Claude.ANTHROPIC
    )
    if claude is Claude.ANTHROPIC and key is None:
        raise SettingsError("CLAUDE=anthropic needs your key in ANTHROPIC_API_KEY")
    token = _own(environment, "DIGITALOCEAN_TOKEN", LOCAL_DIGITALOCEAN_TOKEN)
    if cloud is Cloud.DIGITALOCEAN and token is None:
        raise SettingsError("CLOUD=digitalocean needs your token in DIGITALOCEAN_TOKEN")
    return StackSettings(
        directory=directory,
        cluster=cluster,
        kubeconfig=_kubeconfig(environment, directory) if cluster is Cluster.KUBECONFIG else None,
        cloud=cloud,
        claude=claude,
        installer=_choice(Installer, "INSTALL", environment, Installer.KUBECTL),
        digitalocean_token=token
        if token is not None and cloud is Cloud.DIGITALOCEAN
        else LOCAL_DIGITALOCEAN_TOKEN,
        anthropic_api_key=key
        if key is not None and claude is Claude.ANTHROPIC
        else LOCAL_ANTHROPIC_KEY,
        digitalocean_api_url=environment.get("DIGITALOCEAN_API_URL")
        or DEFAULT_DIGITALOCEAN_API_URL,
        domain=environment.get("DOMAIN") or None,
        https=True,
        console=True,
        inspector=True,
    )


_Choice = TypeVar("_Choice", bound=StrEnum)


def _choice(
    kind: type[_Choice], name: str, environment: Mapping[str, str], default: _Choice
) -> _Choice:
    value = environment.get(name)
    if not value:
        return default
    try:
        return kind(value.lower())
    except ValueError:
        known = " or ".join(kind)
        raise SettingsError(f"{name}={value} is unknown; write {name}={known}") from None


def _own(environment: Mapping[str, str], name: str, local_value: str) -> str | None:
    """The person's own value. A shell that read .local/env holds ours, which is not one."""
    value = environment.get(name)
    return None if not value or value == local_value else value


def _kubeconfig(environment: Mapping[str, str], directory: Path) -> str | None:
    value = environment.get("KUBECONFIG") or None
    paths = [Path(part) for part in (value or "").split(os.pathsep) if part]
    if directory / "kubeconfig" in (path.absolute() for path in paths):
        raise SettingsError(
            f"KUBECONFIG={value} is the local stack's own (this shell read its env file); "
            "set KUBECONFIG to your cluster's, or use another terminal"
        )
    if not any(path.is_file() for path in paths or [Path.home() / ".kube" / "config"]):
        raise SettingsError(
            f"CLUSTER=kubeconfig needs a kubeconfig, but {value or '~/.kube/config'} does not "
            "exist; `make kind-up` makes a cluster with one"
        )
    return value
