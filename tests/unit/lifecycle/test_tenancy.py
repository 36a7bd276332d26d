"""Who may use a class: namespaces by their labels, and tiers."""

import pytest
from pydantic import ValidationError

from spawnai.api.session import Tier
from spawnai.api.spawnclass import ClassSpec
from spawnai.lifecycle.tenancy import matches, needs_labels, refusal, shown


def spec(**fields) -> ClassSpec:
    return ClassSpec.model_validate(fields)


def selecting(**selector) -> ClassSpec:
    return spec(allowedNamespaces={"from": "Selector", "selector": selector})


def test_a_class_that_says_nothing_serves_every_namespace_and_tier():
    everyone = spec()
    assert not needs_labels(everyone)
    for tier in Tier:
        assert refusal("standard", everyone, "shop", None, tier) is None


@pytest.mark.parametrize(
    ("labels", "allowed"),
    [
        ({"team": "shop", "stage": "dev"}, True),
        ({"team": "shop", "stage": "prod"}, False),
        ({"team": "shop"}, False),
        ({"team": "shop", "stage": "dev", "frozen": ""}, False),
        ({"team": "Shop", "stage": "dev"}, False),
        ({}, False),
    ],
)
def test_all_parts_of_a_selector_must_hold(labels, allowed):
    only = selecting(
        matchLabels={"team": "shop"},
        matchExpressions=[
            {"key": "stage", "operator": "In", "values": ["dev", "test"]},
            {"key": "stage", "operator": "NotIn", "values": ["prod"]},
            {"key": "team", "operator": "Exists"},
            {"key": "frozen", "operator": "DoesNotExist"},
        ],
    )
    assert needs_labels(only)
    refused = refusal("standard", only, "shop", labels, Tier.LIGHT)
    assert (refused is None) is allowed
    if refused is not None:
        assert refused[0] == "NamespaceNotAllowed"
        assert "team=shop, stage in (dev, test), stage notin (prod), team, !frozen" in refused[1]


def test_not_in_holds_for_a_namespace_without_the_label():
    selector = selecting(
        matchExpressions=[{"key": "stage", "operator": "NotIn", "values": ["prod"]}]
    ).allowed_namespaces.selector
    assert matches(selector, {})
    assert shown(selector) == "stage notin (prod)"


def test_labels_that_are_not_known_allow_nothing_that_depends_on_them():
    refused = refusal("standard", selecting(matchLabels={"a": "b"}), "shop", None, Tier.LIGHT)
    assert refused is not None
    assert refused[0] == "NamespaceUnknown"


def test_a_tier_that_is_not_offered_is_refused_with_those_that_are():
    refused = refusal("standard", spec(allowedTiers=["light"]), "shop", {}, Tier.COMPLEX)
    assert refused is not None
    assert refused[0] == "TierNotAllowed"
    assert "(it offers: light)" in refused[1]


def test_an_unknown_operator_makes_the_class_unreadable_rather_than_open():
    with pytest.raises(ValidationError):
        selecting(matchExpressions=[{"key": "a", "operator": "Like", "values": ["b"]}])
