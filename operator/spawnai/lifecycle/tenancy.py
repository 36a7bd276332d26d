"""Who may use a class: which namespaces, and which tiers."""

from collections.abc import Mapping

from spawnai.api.session import Tier
from spawnai.api.spawnclass import (
    ClassSpec,
    LabelSelector,
    NamespacesFrom,
    SelectorOperator,
    SelectorRequirement,
)

Labels = Mapping[str, str]


def needs_labels(spec: ClassSpec) -> bool:
    """Whether the labels of a namespace decide if it may use the class."""
    return spec.allowed_namespaces.from_ is NamespacesFrom.SELECTOR


def refusal(
    class_name: str, spec: ClassSpec, namespace: str, labels: Labels | None, tier: Tier
) -> tuple[str, str] | None:
    """Reason and sentence when a session may not use the class; None when it may.

    `labels`: those of the namespace; None when they are not known, which allows nothing that
    depends on them.
    """
    if needs_labels(spec):
        selector = spec.allowed_namespaces.selector
        if labels is None:
            return (
                "NamespaceUnknown",
                (
                    f"SpawnClass {class_name!r} serves namespaces by their labels, and those of "
                    f"{namespace!r} could not be read: let the operator get namespaces"
                ),
            )
        if not matches(selector, labels):
            return (
                "NamespaceNotAllowed",
                (
                    f"SpawnClass {class_name!r} does not serve namespace {namespace!r}: name "
                    f"another class, or ask for the labels that it wants ({shown(selector)})"
                ),
            )
    if tier not in spec.allowed_tiers:
        allowed = ", ".join(spec.allowed_tiers)
        return (
            "TierNotAllowed",
            (
                f"SpawnClass {class_name!r} does not offer tier {tier.value!r} (it offers: "
                f"{allowed}): make the session again with one of them"
            ),
        )
    return None


def matches(selector: LabelSelector, labels: Labels) -> bool:
    """Whether labels meet a selector, as Kubernetes defines it: all of its parts must hold."""
    return all(labels.get(key) == value for key, value in selector.match_labels.items()) and all(
        _meets(requirement, labels) for requirement in selector.match_expressions
    )


def _meets(requirement: SelectorRequirement, labels: Labels) -> bool:
    present = requirement.key in labels
    match requirement.operator:
        case SelectorOperator.IN:
            return present and labels[requirement.key] in requirement.values
        case SelectorOperator.NOT_IN:
            return not present or labels[requirement.key] not in requirement.values
        case SelectorOperator.EXISTS:
            return present
        case SelectorOperator.DOES_NOT_EXIST:
            return not present


def shown(selector: LabelSelector) -> str:
    """A selector in a few words, as `kubectl --selector` takes it."""
    words = [f"{key}={value}" for key, value in sorted(selector.match_labels.items())]
    for one in selector.match_expressions:
        values = ", ".join(one.values)
        words.append(
            {
                SelectorOperator.IN: f"{one.key} in ({values})",
                SelectorOperator.NOT_IN: f"{one.key} notin ({values})",
                SelectorOperator.EXISTS: one.key,
                SelectorOperator.DOES_NOT_EXIST: f"!{one.key}",
            }[one.operator]
        )
    return ", ".join(words) or "any"
