"""The fixed names of the API: group, annotations, finalizer, labels and tags."""

from collections.abc import Iterable

GROUP = "spawn-ai.com"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"

TTL_ANNOTATION = f"{GROUP}/ttl"
EXPIRES_AT_ANNOTATION = f"{GROUP}/expires-at"
FEEDBACK_ANNOTATION = f"{GROUP}/feedback"
DEFAULT_CLASS_ANNOTATION = f"{GROUP}/is-default-class"

FINALIZER = f"{GROUP}/cleanup"

SESSION_UID_LABEL = f"{GROUP}/session-uid"

GATEWAY_SERVICE = "spawnai-gateway"
GATEWAY_TLS_SECRET = "spawnai-gateway-tls"  # noqa: S105 - the Secret's name

GITOPS_MARKS = frozenset(
    {
        "argocd.argoproj.io/tracking-id",
        "app.kubernetes.io/instance",
        "kustomize.toolkit.fluxcd.io/name",
        "helm.toolkit.fluxcd.io/name",
    }
)
"""The annotation or labels by which Argo CD and Flux know what they hold. Argo CD before version 3
uses the label of Helm's releases."""

FIELD_MANAGER = "spawnai-operator"

TAG_PRODUCT = "spawn-ai"
TAG_EPHEMERAL = "ephemeral"


def session_tag(session_uid: str) -> str:
    """The tag that says which session a droplet belongs to: the proof that it is ours."""
    return f"session:{session_uid}"


def cluster_tag(cluster_uid: str) -> str:
    """The tag that keeps two clusters on one account apart (UID of namespace kube-system)."""
    return f"cluster:{cluster_uid}"


def class_tag(class_uid: str) -> str:
    """The tag that the Shared firewall of a class covers."""
    return f"class:{class_uid}"


def ttl_tag(expires_at_epoch: int) -> str:
    """The tag with the expiry known at creation (seconds since 1970), for people and audits."""
    return f"ttl:{expires_at_epoch}"


def session_droplet_name(session_uid: str) -> str:
    """The deterministic name of a session's droplet."""
    return f"spawn-{session_uid}"


def session_firewall_name(session_uid: str) -> str:
    """The deterministic name of a session's own firewall (firewall mode PerSession)."""
    return f"fw-spawn-{session_uid}"


def session_certificate_name(session_uid: str) -> str:
    """The deterministic name of a session's own certificate, and of the Secret with its key."""
    return f"spawn-{session_uid}-certificate"


def load_balancer_name(cluster_uid: str, session_uid: str) -> str:
    """The deterministic name of a session's load balancer. Load balancers have no tags of ours: the
    name says whose it is.
    """
    return f"{load_balancer_prefix(cluster_uid)}{session_uid}"


def load_balancer_prefix(cluster_uid: str) -> str:
    """How the names of all load balancers of a cluster begin."""
    return f"lb-spawn-{cluster_uid}-"


def hosted_certificate_name(class_uid: str, contents: str) -> str:
    """The deterministic name of a certificate that DigitalOcean holds for a class's load balancers.
    `contents`: a digest of what it is for, since it cannot be changed.
    """
    return f"{hosted_certificate_prefix(class_uid)}{contents}"


def hosted_certificate_prefix(class_uid: str) -> str:
    """How the names of all hosted certificates of a class begin."""
    return f"spawn-class-{class_uid}-hosted-"


def class_certificate_name(class_uid: str, number: int) -> str:
    """The deterministic name of the nth certificate of a class, and of the Secret with its key."""
    return f"spawn-class-{class_uid}-certificate-{number}"


def class_firewall_name(class_uid: str) -> str:
    """The deterministic name of a class's Shared firewall."""
    return f"fw-spawn-class-{class_uid}"


def image_name(cluster_uid: str, image_uid: str) -> str:
    """The deterministic name of a baked image. Images have no tags of ours: the name says whose it
    is.
    """
    return f"{image_prefix(cluster_uid)}{image_uid}"


def image_prefix(cluster_uid: str) -> str:
    """How the names of all baked images of a cluster begin."""
    return f"spawn-image-{cluster_uid}-"


def session_host_label(session_name: str, session_uid: str) -> str:
    """The DNS label of a session: its name, shortened, and eight hex digits of its UID.

    A label has at most 63 octets (RFC 1035, section 2.3.4); object names may be longer and hold
    dots. A label with hyphens in its third and fourth place is reserved (RFC 5891, section
    4.2.3.1): `xn--` begins an internationalised name, and browsers would show another one.
    """
    stem = session_name.replace(".", "-")
    if stem[2:4] == "--":
        stem = f"app-{stem}"
    stem = stem[:54].strip("-")
    return f"{stem}{session_host_suffix(session_uid)}"


def session_host_suffix(session_uid: str) -> str:
    """How the DNS label of a session ends, whatever the session is called."""
    return f"-{session_uid.replace('-', '')[:8]}"


def owner_of(name: str, tags: Iterable[str], cluster_uid: str) -> str | None:
    """The UID of the session that a droplet was made for; None when it lacks one of our marks."""
    worn = frozenset(tags)
    if not {TAG_PRODUCT, TAG_EPHEMERAL, cluster_tag(cluster_uid)} <= worn:
        return None
    prefix = session_tag("")
    owners = [tag.removeprefix(prefix) for tag in worn if tag.startswith(prefix)]
    if len(owners) != 1 or not owners[0] or name != session_droplet_name(owners[0]):
        return None
    return owners[0]
