import pytest

from spawnai.api.durations import parse_duration
from spawnai.api.names import DEFAULT_CLASS_ANNOTATION
from spawnai.api.spawnclass import ClassSpec, Https
from spawnai_local.classes import (
    LAPTOP_LIFETIME,
    LOCAL_CLASS,
    LOCAL_DNS_CLASS,
    LOCAL_DOMAIN,
    LOCAL_HTTP_CLASS,
    digitalocean_class,
    local_classes,
)
from spawnai_local.demo_story import LIFETIME, LONGER_TTL, TTL


def defaults(documents) -> list[str]:
    return [
        document["metadata"]["name"]
        for document in documents
        if document["metadata"]["annotations"].get(DEFAULT_CLASS_ANNOTATION) == "true"
    ]


@pytest.mark.parametrize("default", [LOCAL_CLASS, LOCAL_DNS_CLASS])
def test_one_of_the_local_classes_is_the_default(default):
    assert defaults(local_classes((80, 443), LAPTOP_LIFETIME, default)) == [default]


def test_the_local_classes_differ_in_domain_and_https_alone():
    specs = {
        document["metadata"]["name"]: ClassSpec.model_validate(document["spec"])
        for document in local_classes((8080, 4443), LAPTOP_LIFETIME, LOCAL_CLASS)
    }
    assert specs[LOCAL_CLASS].exposure.domain is None
    assert specs[LOCAL_DNS_CLASS].exposure.domain == LOCAL_DOMAIN
    assert [name for name, spec in specs.items() if spec.exposure.https is Https.OFF] == [
        LOCAL_HTTP_CLASS
    ]
    for spec in specs.values():
        assert (spec.exposure.http_port, spec.exposure.https_port) == (8080, 4443)
        assert spec.lifetime == LAPTOP_LIFETIME


def test_a_class_shows_only_what_differs_from_the_defaults():
    (document,) = digitalocean_class("apps.example.com")
    assert document["spec"] == {"exposure": {"domain": "apps.example.com"}}


@pytest.mark.parametrize("lifetime", [LAPTOP_LIFETIME, LIFETIME], ids=["laptop", "demo"])
def test_warnings_and_notices_fit_into_a_life(lifetime):
    longest, notice, warning = (
        parse_duration(text) for text in (lifetime.max, lifetime.notice, lifetime.warning)
    )
    assert notice < warning < longest


def test_the_demo_s_lives_fit_into_its_class():
    assert parse_duration(LIFETIME.warning) < TTL < LONGER_TTL < parse_duration(LIFETIME.max)
