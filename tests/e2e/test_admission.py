"""What a real API server takes, refuses and shows, driven with kubectl as people do."""

import asyncio
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml
from kubernetes.aio import client, config

from spawnai.api.crds import RESOURCES, object_schema
from spawnai.api.durations import is_now, parse_duration, parse_time
from spawnai.api.names import (
    API_VERSION,
    EXPIRES_AT_ANNOTATION,
    FINALIZER,
    GROUP,
    TTL_ANNOTATION,
    VERSION,
)
from spawnai.api.policy import POLICY_NAME
from spawnai.clock import SystemClock
from spawnai.controller.cluster import Cluster
from spawnai.controller.schemas import missing_fields
from spawnai_local.control_plane import ControlPlane
from spawnai_local.installation import until_established
from spawnai_local.kubectl import Kubectl, KubectlError
from spawnai_local.paths import checkout

REPOSITORY = Path(__file__).resolve().parents[2]
NAMESPACE = "admission"
ORDER = {"prompt": "A clock that shows the time in three cities", "appType": "webapp"}
RECORD_UID = "7d1f0c52-0d3c-4b5e-9a52-0c2f6b1f6a11"
STAMPS_SINCE = 36  # the minor version whose API server has MutatingAdmissionPolicy in v1


def session(
    name: str,
    spec: Any = None,
    *,
    ttl: str | None = None,
    expires_at: str | None = None,
    **fields: Any,
) -> dict[str, Any]:
    """A manifest; `fields` are laid over a good order, and None takes one away."""
    order = {**ORDER, **fields} if spec is None else spec
    annotations = {TTL_ANNOTATION: ttl, EXPIRES_AT_ANNOTATION: expires_at}
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnSession",
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "annotations": {key: text for key, text in annotations.items() if text is not None},
        },
        "spec": {key: value for key, value in order.items() if value is not None}
        if isinstance(order, dict)
        else order,
    }


def spawn_class(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnClass",
        "metadata": {"name": name},
        "spec": spec,
    }


async def create(kubectl: Kubectl, *manifests: dict[str, Any], dry_run: bool = False) -> str:
    """`kubectl create`: what it printed."""
    arguments = ["create", "--filename", "-", *(["--dry-run=server"] if dry_run else [])]
    items = {"apiVersion": "v1", "kind": "List", "items": list(manifests)}
    return await kubectl.run(*arguments, standard_input=json.dumps(items))


async def apply(kubectl: Kubectl, manifest: dict[str, Any], *arguments: str) -> str:
    """`kubectl apply`, client-side if nothing else is said: what it printed."""
    return await kubectl.run(
        "apply", "--filename", "-", *arguments, standard_input=json.dumps(manifest)
    )


_QUOTED = re.compile(r'Invalid value: "[^"]*"')


async def refusal(kubectl: Kubectl, manifest: dict[str, Any], *arguments: str) -> str:
    """What `kubectl apply` says when it is refused."""
    with pytest.raises(KubectlError) as caught:
        await apply(kubectl, manifest, *arguments)
    return caught.value.answer


async def read(kubectl: Kubectl, name: str) -> Any:
    return await kubectl.json("get", "spawnsession", name, "--namespace", NAMESPACE)


async def until_policy(kubectl: Kubectl, *, refuses: bool) -> None:
    """The API server takes up policies and bindings within a second or so."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        try:
            await create(kubectl, session("probe", ttl="no duration"), dry_run=True)
            refused = False
        except KubectlError as error:
            refused = POLICY_NAME in error.answer
        if refused is refuses:
            return
        await asyncio.sleep(0.1)
    pytest.fail(f"after 30 s the policy still {'lets by' if refuses else 'refuses'} what it knows")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def kubectl(control_plane: ControlPlane) -> AsyncIterator[Kubectl]:
    """An API server with everything in manifests/ but the operator itself."""
    running = control_plane.kubectl
    # Warnings are errors: the pod must meet its namespace's standard.
    await running.run(
        *("apply", "--server-side", "--force-conflicts", "--warnings-as-errors"),
        *("--kustomize", str(REPOSITORY / "manifests")),
    )
    # Nothing runs pods here, but the Deployment says that an operator is at work.
    await running.run("delete", "deployment", "spawnai-operator", "--namespace", "spawnai-system")
    await until_established(running)
    await running.run("create", "namespace", NAMESPACE)
    await until_policy(running, refuses=True)
    yield running
    # Sessions here have no finalizer that anyone but this module holds.
    await running.run("delete", "namespace", NAMESPACE, "--wait=false")
    await running.run("delete", "spawnclasses", "--all", "--wait=false")


_ANOTHER = "delete this session and apply it again, or apply it under another metadata.name"
_DURATION_HELP = "write a duration such as 90m, 1h30m, 3d or 0s (units d, h, m, s, in that order)"
_TIME_HELP = 'write an RFC 3339 time such as 2026-12-24T18:00:00Z, or "now"'


@pytest.mark.parametrize(
    ("manifest", "sentence"),
    [
        pytest.param(
            session("empty", prompt=""),
            "spec.prompt: Required value: the prompt is blank: write in 1 to 2000 characters what "
            "the app should be",
            id="an empty prompt",
        ),
        pytest.param(
            session("blank", prompt=" \n\t\u3000"),
            "spec.prompt: Required value: the prompt is blank: write in 1 to 2000 characters what "
            "the app should be",
            id="a blank prompt",
        ),
        pytest.param(
            session("none", {"appType": "api"}),
            "spec.prompt: Required value",
            id="no prompt",
        ),
        pytest.param(
            session("nul", prompt="a clock\x00"),
            "the prompt holds control characters",
            id="a prompt with NUL",
        ),
        pytest.param(
            session("escape", prompt="\x1b[31ma clock"),
            "the prompt holds control characters",
            id="a prompt with a terminal's escape sequence",
        ),
        pytest.param(
            session("c1", prompt="a \x9b31m clock"),
            "the prompt holds control characters",
            id="a prompt with a C1 control character",
        ),
        pytest.param(
            session("long", prompt="x" * 2001),
            "spec.prompt: Forbidden: the prompt is too long: write at most 2000 characters",
            id="2001 characters",
        ),
        pytest.param(
            session("long-emoji", prompt="🪴" * 2001),
            "spec.prompt: Forbidden: the prompt is too long: write at most 2000 characters",
            id="2001 emoji",
        ),
        pytest.param(
            session("website", appType="website"),
            'spec.appType: Unsupported value: "website": supported values: "webapp", "api", '
            '"fullstack", "script"',
            id="an unknown app type",
        ),
        pytest.param(
            session("untyped", appType=None), "spec.appType: Required value", id="no app type"
        ),
        pytest.param(
            session("huge", tier="huge"),
            'spec.tier: Unsupported value: "huge": supported values: "light", "standard", '
            '"complex"',
            id="an unknown tier",
        ),
        pytest.param(
            session("city", region="New York"),
            'spec.region: Invalid value: "New York": write a DigitalOcean region slug such as '
            "nyc3, ams3 or sgp1",
            id="a region that is no slug",
        ),
        pytest.param(
            session("place", location="Europe!"),
            'spec.location: Invalid value: "Europe!": write a location that the class names in '
            "spec.locations (small letters, digits and -), such as europe",
            id="a location that is no name",
        ),
        pytest.param(
            session("class", className="My Class"),
            'spec.className: Invalid value: "My Class": write the name of a SpawnClass (small '
            "letters, digits, - and .), one of those that `kubectl get spawnclasses` lists",
            id="a class that is no name",
        ),
        pytest.param(
            session("user", user=" dana"),
            'spec.user: Invalid value: " dana": write a user without blanks around it and without '
            "line breaks, such as dana@example.com",
            id="a user with blanks around",
        ),
        pytest.param(session("specless", []), "spec", id="a spec that is a list"),
        pytest.param(
            session("typo", teir="light"), 'unknown field "spec.teir"', id="a misspelt field"
        ),
        pytest.param(
            session("ttl", ttl="two hours"),
            f'the annotation {TTL_ANNOTATION}: "two hours" is not a duration: {_DURATION_HELP}',
            id="a ttl that is not a duration",
        ),
        pytest.param(
            session("ttl-lines", ttl="1h\n1h"),
            rf'the annotation {TTL_ANNOTATION}: "1h\n1h" is not a duration: {_DURATION_HELP}',
            id="a ttl of two lines",
        ),
        pytest.param(
            session("ttl-book", ttl='"' * 10_000),
            f'the annotation {TTL_ANNOTATION}: "' + r"\"" * 61 + '..." is not a duration: ',
            id="a ttl as long as a book",
        ),
        pytest.param(
            session("until", expires_at="tomorrow"),
            f'the annotation {EXPIRES_AT_ANNOTATION}: "tomorrow" is not a time: {_TIME_HELP}',
            id="an end that is not a time",
        ),
        pytest.param(
            spawn_class("no-duration", lifetime={"max": "3 days"}),
            'spec.lifetime.max: Invalid value: "3 days": this is not a duration: ' + _DURATION_HELP,
            id="a class whose maximum is not a duration",
        ),
        pytest.param(
            spawn_class("long-notice", lifetime={"notice": "1d1s"}),
            'spec.lifetime.notice: Invalid value: "1d1s": write a duration from 0s to 1d',
            id="a class whose notice is too long",
        ),
        pytest.param(
            spawn_class("no-time", lifetime={"max": "0s"}),
            'spec.lifetime.max: Invalid value: "0s": write a duration from 1s to 365d',
            id="a class that allows no time at all",
        ),
        pytest.param(
            spawn_class("no-size", tiers={"light": {"sizes": [], "ttl": "1h"}}),
            "write at least one DigitalOcean size slug such as s-1vcpu-1gb",
            id="a tier without a size",
        ),
        pytest.param(
            spawn_class("half-tier", tiers={"light": {"sizes": ["s-1vcpu-1gb"]}}),
            "spec.tiers.light.ttl: Required value",
            id="a tier without a lifetime",
        ),
        pytest.param(
            spawn_class("no-region", regions=[]),
            "the list is empty: write a DigitalOcean region slug such as nyc3, ams3 or sgp1",
            id="a class without a region",
        ),
        pytest.param(
            spawn_class("empty-location", locations={"europe": []}),
            "write at least one region for each location, such as europe: [ams3, fra1]",
            id="a location without a region",
        ),
        pytest.param(
            spawn_class(
                "plain",
                exposure={"mode": "Wildcard", "domain": "apps.example.com", "https": "Off"},
            ),
            "mode Wildcard serves HTTPS by its gateway: leave https out, or set mode Direct",
            id="a gateway without HTTPS",
        ),
        pytest.param(
            spawn_class("upper", exposure={"domain": "Apps.Example.com."}),
            'spec.exposure.domain: Invalid value: "Apps.Example.com.": write a domain in small '
            "letters, without a dot at its end, such as apps.example.com",
            id="a domain that is none",
        ),
        pytest.param(
            spawn_class("gate", firewall={"operatorAddresses": ["office"]}),
            'spec.firewall.operatorAddresses[0]: Invalid value: "office": write an IP address or a '
            "range in CIDR notation, such as 203.0.113.7 or 203.0.113.0/24",
            id="an address that is none",
        ),
        pytest.param(
            spawn_class("nobody", allowedNamespaces={"from": "Selector"}),
            "write a selector with matchLabels or matchExpressions, or from: All",
            id="a class that selects namespaces by nothing",
        ),
        pytest.param(
            spawn_class(
                "valueless",
                allowedNamespaces={
                    "from": "Selector",
                    "selector": {"matchExpressions": [{"key": "team", "operator": "In"}]},
                },
            ),
            "write values for In and NotIn",
            id="a class that selects by In without values",
        ),
        pytest.param(
            spawn_class("tierless", allowedTiers=[]),
            "the list is empty: write at least one tier",
            id="a class without a tier",
        ),
        pytest.param(
            spawn_class("effort", model={"effort": "extreme"}),
            'spec.model.effort: Unsupported value: "extreme": supported values: "low", "medium", '
            '"high", "xhigh", "max"',
            id="an effort that Claude does not know",
        ),
    ],
)
async def test_bad_input_is_refused_with_what_to_write_instead(kubectl, manifest, sentence):
    said = await refusal(kubectl, manifest)
    # Kubernetes 1.33 shows the type of a refused text in place of the text.
    assert sentence in said or _QUOTED.sub('Invalid value: "string"', sentence) in said


GOOD_SESSIONS = {
    "emoji": session("emoji", prompt="🪴" * 2000),
    "script": session(
        "script", prompt="白板を三列で。カードを追加して投票できる。\nلوحة بثلاثة أعمدة"
    ),
    "quotes": session("quotes", prompt="""Quotes " ' ` and \\ and {{ }} and $(id)\r\n\ttabs\n"""),
    "one-character": session("one-character", prompt="x"),
    "everything": session(
        "everything",
        tier="complex",
        user="Jürgen Müller",
        className="a.class",
        region="nyc3",
        location="us-east",
        ttl="1h30m",
        expires_at="2026-12-24T18:00:00+01:00",
    ),
    "n" * 253: session("n" * 253),
    "a.b" * 84 + "c": session("a.b" * 84 + "c"),
}


async def test_good_input_is_taken_and_kept_to_the_last_character(kubectl):
    await create(kubectl, *GOOD_SESSIONS.values())
    for name, manifest in GOOD_SESSIONS.items():
        kept = await read(kubectl, name)
        assert kept["spec"] == manifest["spec"]
        assert kept["metadata"].get("annotations", {}) == manifest["metadata"]["annotations"]


async def test_the_same_name_in_two_namespaces_is_two_sessions(kubectl):
    other = session("twice")
    other["metadata"]["namespace"] = "default"
    await create(kubectl, session("twice"), other, dry_run=True)


async def test_the_examples_and_settings_that_are_shipped_are_taken(kubectl):
    for folder in ("examples", "settings"):
        await kubectl.run(  # other tests of this control plane may own some of their objects
            *("apply", "--server-side", "--dry-run=server", "--force-conflicts"),
            *("--filename", str(REPOSITORY / "manifests" / folder)),
        )


async def test_a_class_without_a_spec_gets_every_default(kubectl):
    await create(
        kubectl, {"apiVersion": API_VERSION, "kind": "SpawnClass", "metadata": {"name": "bare"}}
    )
    spec = (await kubectl.json("get", "spawnclass", "bare"))["spec"]
    assert spec["tiers"]["standard"] == {"sizes": ["s-2vcpu-2gb"], "ttl": "24h"}
    assert spec["lifetime"] == {
        "max": "72h",
        "provisioningDeadline": "10m",
        "notice": "2m",
        "warning": "5m",
        "deadManGrace": "10m",
        "gracefulStop": "5s",
    }
    assert "domain" not in spec["exposure"]


async def test_the_bounds_of_durations_are_what_a_class_may_say(kubectl):
    await create(
        kubectl,
        spawn_class(
            "edges",
            lifetime={"max": "365d", "notice": "0s", "warning": "7d", "deadManGrace": "24h"},
        ),
        spawn_class("edges-in-small", lifetime={"max": "1s"}, records={"retention": "3650d"}),
        spawn_class("edges-in-units", lifetime={"max": "364d23h59m60s"}),
        dry_run=True,
    )


TTLS = (
    *("0s", "1s", "90m", "2h", "1h30m", "3d", "1d2h3m4s", "007m", "99999d", "999999s", "00000d"),
    *(" 2h", "2h ", "\t2h\r\n", "\n\n1h\n", " " * 62 + "2h", " " * 63 + "2h", "1d 2h", "\u00a02h"),
    *(
        "",
        " ",
        "2",
        "h",
        "2H",
        "2hr",
        "1.5h",
        "-1h",
        "+1h",
        "1h1h",
        "30m1h",
        "1w",
        "1h30",
        "\uff11h",
    ),
    *("100000d", "1000000s", "two hours", "2h;", "'2h'", '"2h"', "2h\\n", "0", "-0s", "PT2H"),
)
TIMES = (
    *("now", "NOW", " Now\n", "now!", "nów", "no w", "\u00a0now"),
    *("2026-12-24T18:00:00Z", "2026-12-24t18:00:00z", " 2026-12-24T18:00:00Z\n"),
    *("2026-12-24T18:00:00.5Z", "2026-12-24T18:00:00.123456789Z", "2026-12-24T18:00:00.Z"),
    *("2026-12-24T18:00:00.1234567890Z", "2026-12-24T18:00:00,5Z", "2026-12-24T18:00:00+01:00"),
    *("2026-12-24T18:00:00-23:59", "2026-12-24T18:00:00+24:00", "2026-12-24T18:00:00+0100"),
    *("2026-12-24T18:00:00+01", "2026-12-24T24:00:00Z", "2026-12-24T18:60:00Z", "2026-12-24"),
    *("2026-12-24T18:00:60Z", "2026-12-24T18:00Z", "2026-12-24 18:00:00Z", "2026-12-24T18:00:00"),
    *("2026-02-28T00:00:00Z", "2026-02-29T00:00:00Z", "2028-02-29T00:00:00Z"),
    *("2000-02-29T00:00:00Z", "2100-02-29T00:00:00Z", "2400-02-29T00:00:00Z"),
    *("2026-04-30T00:00:00Z", "2026-04-31T00:00:00Z", "2026-12-31T00:00:00Z"),
    *("2026-00-01T00:00:00Z", "2026-13-01T00:00:00Z", "2026-01-00T00:00:00Z"),
    *("1969-12-31T23:59:59Z", "1970-01-01T00:00:00Z", "2999-12-31T23:59:59Z"),
    *("3000-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1766599200"),
    *("", "tomorrow", "in 2h", "2h", "Thu, 24 Dec 2026 18:00:00 GMT", "\uff12026-12-24T18:00:00Z"),
)


def reads_time(text: str) -> None:
    if not is_now(text):
        parse_time(text)


@pytest.mark.parametrize(
    ("annotation", "texts", "reads"),
    [("ttl", TTLS, parse_duration), ("expires_at", TIMES, reads_time)],
)
async def test_the_policy_takes_exactly_what_the_operator_reads(kubectl, annotation, texts, reads):
    def is_read(text: str) -> bool:
        try:
            reads(text)
        except ValueError:
            return False
        return True

    names = [f"{annotation.replace('_', '-')}-{number}" for number in range(len(texts))]
    manifests = [
        session(name, **{annotation: text}) for name, text in zip(names, texts, strict=True)
    ]
    with pytest.raises(KubectlError) as caught:  # creates those that it takes, all the same
        await create(kubectl, *manifests)
    refused = sum(not is_read(text) for text in texts)
    assert caught.value.answer.count("denied request: the annotation") == refused
    listed = await kubectl.items("spawnsessions", "--namespace", NAMESPACE)
    taken = {item["metadata"]["name"] for item in listed}
    for name, text in zip(names, texts, strict=True):
        assert (name in taken) is is_read(text), repr(text)
    assert any(is_read(text) for text in texts)


SERVER_SIDE = ("--server-side", "--field-manager", "gitops")
each_way = pytest.mark.parametrize(
    ("name", "way"), [("client-side", ()), ("server-side", SERVER_SIDE)], ids=["client", "server"]
)


@each_way
async def test_no_field_of_an_order_but_its_prompt_can_be_changed_added_or_removed(
    kubectl, name, way
):
    manifest = session(f"fixed-{name}", tier="light", user="dana")
    await apply(kubectl, manifest, *way)
    for field, called, value in (
        ("appType", "app type", "api"),
        ("tier", "tier", "complex"),
        ("tier", "tier", None),
        ("user", "user", "erin"),
        ("user", "user", None),
        ("className", "class", "standard"),
        ("region", "region", "ams3"),
        ("location", "location", "europe"),
    ):
        changed = session(f"fixed-{name}", **{"tier": "light", "user": "dana", field: value})
        sentence = f"spec.{field}: Forbidden: the {called} cannot change: {_ANOTHER}"
        assert sentence in await refusal(kubectl, changed, *way)
    assert (await read(kubectl, f"fixed-{name}"))["spec"] == manifest["spec"]
    prompt = {"tier": "light", "user": "dana", "prompt": "Another clock"}
    await apply(kubectl, session(f"fixed-{name}", **prompt), *way)
    assert (await read(kubectl, f"fixed-{name}"))["spec"]["prompt"] == "Another clock"


@each_way
async def test_applying_the_same_manifest_again_changes_nothing(kubectl, name, way):
    manifest = session(f"again-{name}", ttl="2h")
    await apply(kubectl, manifest, *way)
    await kubectl.run(
        *("patch", "spawnsession", f"again-{name}", "--namespace", NAMESPACE, "--type=merge"),
        *("--patch", json.dumps({"metadata": {"finalizers": [FINALIZER]}})),
    )
    await kubectl.run(
        *("patch", "spawnsession", f"again-{name}", "--namespace", NAMESPACE, "--type=merge"),
        *("--subresource=status", "--patch", json.dumps({"status": {"phase": "Running"}})),
    )
    before = await read(kubectl, f"again-{name}")
    await apply(kubectl, manifest, *way)
    after = await read(kubectl, f"again-{name}")
    assert after["metadata"]["resourceVersion"] == before["metadata"]["resourceVersion"]
    assert after["metadata"]["finalizers"] == [FINALIZER]
    assert after["status"] == {"observedGeneration": -1, "phase": "Running"}
    await release(kubectl, f"again-{name}")


async def release(kubectl: Kubectl, name: str) -> None:
    """Take the finalizer off, as the operator does at the end."""
    await kubectl.run(
        *("patch", "spawnsession", name, "--namespace", NAMESPACE, "--type=merge"),
        *("--patch", json.dumps({"metadata": {"finalizers": []}})),
    )


@each_way
async def test_what_a_person_annotates_survives_the_original_manifest(kubectl, name, way):
    without, with_ttl = session(f"extended-{name}"), session(f"kept-{name}", ttl="2h")
    for manifest, annotation, text in (
        (without, TTL_ANNOTATION, "4h"),
        (with_ttl, EXPIRES_AT_ANNOTATION, "2026-12-24T18:00:00Z"),
    ):
        own = manifest["metadata"]["name"]
        await apply(kubectl, manifest, *way)
        await kubectl.run(
            "annotate", "spawnsession", own, f"{annotation}={text}", "--namespace", NAMESPACE
        )
        await apply(kubectl, manifest, *way)
        assert (await read(kubectl, own))["metadata"]["annotations"][annotation] == text


async def test_a_ttl_that_the_manifest_holds_is_put_back(kubectl):
    """Which is why expires-at exists: Git and a person cannot both own one value."""
    manifest = session("in-git", ttl="2h")
    await apply(kubectl, manifest)
    await kubectl.run(
        *("annotate", "--overwrite", "spawnsession", "in-git", f"{TTL_ANNOTATION}=9h"),
        *("--namespace", NAMESPACE),
    )
    await apply(kubectl, manifest)
    assert (await read(kubectl, "in-git"))["metadata"]["annotations"][TTL_ANNOTATION] == "2h"


async def test_an_unreadable_value_from_before_the_policy_stands_in_no_ones_way(kubectl):
    binding = ("validatingadmissionpolicybinding", POLICY_NAME)
    held = await kubectl.json("get", *binding)
    await kubectl.run("delete", *binding)
    try:
        await until_policy(kubectl, refuses=False)
        old = session("old", ttl="for ever", expires_at="never")
        old["metadata"]["finalizers"] = [FINALIZER]
        await create(kubectl, old)
    finally:
        for key in ("uid", "resourceVersion", "creationTimestamp", "managedFields", "generation"):
            held["metadata"].pop(key, None)
        await create(kubectl, held)
        await until_policy(kubectl, refuses=True)
    own = ("old", "--namespace", NAMESPACE)
    await kubectl.run("label", "spawnsession", *own, "team=blue")
    await kubectl.run("annotate", "spawnsession", *own, "note=still here")
    with pytest.raises(KubectlError, match="is not a duration"):
        await kubectl.run(
            "annotate", "--overwrite", "spawnsession", *own, f"{TTL_ANNOTATION}=even longer"
        )
    await kubectl.run("annotate", "--overwrite", "spawnsession", *own, f"{TTL_ANNOTATION}=1h")
    await kubectl.run("annotate", "spawnsession", *own, f"{EXPIRES_AT_ANNOTATION}-")
    await kubectl.run("delete", "spawnsession", *own, "--wait=false")
    await release(kubectl, "old")
    await kubectl.run("wait", "--for=delete", "spawnsession", *own, "--timeout=20s")


async def test_a_users_write_cannot_touch_the_status(kubectl):
    manifest = session("honest")
    manifest["status"] = {"phase": "Running", "url": "http://203.0.113.7"}
    await apply(kubectl, manifest)
    assert (await read(kubectl, "honest"))["status"] == {
        "observedGeneration": -1,
        "phase": "Requested",
    }


@pytest.mark.parametrize(
    ("field", "words"),
    [
        ("spawnsession", "A SpawnSession is one ephemeral app on a server of its own"),
        ("ss.spec.prompt", "in any language: 1 to 2000 characters."),
        ("ss.spec.tier", "ENUM: light standard complex"),
        ("ss.status.expirationTime", "When the session ends and all that it uses is destroyed."),
        ("spawnclass.spec.lifetime.notice", "Default: 2m"),
        ("spawnclass.spec.tiers.light.sizes", "DigitalOcean size slugs in order of preference"),
        ("sr.status.resources.presence", "Gone: seen gone"),
    ],
)
async def test_explain_reads_as_a_manual(kubectl, field, words):
    assert words in " ".join((await kubectl.run("explain", field)).split())


async def table(kubectl: Kubectl, *arguments: str) -> list[str]:
    """The lines of `kubectl get`, with single blanks."""
    return [" ".join(line.split()) for line in (await kubectl.run("get", *arguments)).splitlines()]


RUNNING = {
    "phase": "Running",
    "progress": 100,
    "message": "Running",
    "url": "http://203.0.113.7",
    "expirationTime": "2096-12-24T18:00:00Z",
    "region": "ams3",
    "size": "s-1vcpu-1gb",
    "droplet": {"id": 123, "name": "spawn-x", "ip": "203.0.113.7"},
    "cost": {"currency": "USD", "estimated": "0.0500"},
    "conditions": [
        {
            "type": "Ready",
            "status": "True",
            "reason": "Running",
            "message": "",
            "lastTransitionTime": "2026-11-23T12:00:00Z",
        }
    ],
}


async def write_status(kubectl: Kubectl, kind: str, name: str, status: dict[str, Any]) -> None:
    await kubectl.run(
        *("patch", kind, name, "--namespace", NAMESPACE, "--subresource=status", "--type=merge"),
        *("--patch", json.dumps({"status": status})),
    )


async def test_get_shows_what_a_person_wants_to_know_of_a_session(kubectl):
    await create(kubectl, session("shown"))
    which = ("ss", "shown", "--namespace", NAMESPACE)
    header, row = await table(kubectl, *which)
    assert header == "NAME STATUS READY URL EXPIRES COST AGE"
    await write_status(kubectl, "ss", "shown", RUNNING)
    header, row = await table(kubectl, *which)
    assert row.startswith("shown Running True http://203.0.113.7 2096-12-24T18:00:00Z 0.0500 ")
    await write_status(kubectl, "ss", "shown", {"cost": {"actual": "0.0312"}})
    header, row = await table(kubectl, *which, "--output", "wide")
    assert header == (
        "NAME STATUS READY URL EXPIRES COST AGE PHASE TYPE PROGRESS REGION SIZE IP MESSAGE"
    )
    assert " 0.0312 " in row
    assert row.endswith("Running webapp 100 ams3 s-1vcpu-1gb 203.0.113.7 Running")
    ended = {"phase": "Destroyed", "terminationReason": "AppCrashed"}
    await write_status(kubectl, "ss", "shown", ended)
    _, row = await table(kubectl, *which)
    assert row.startswith("shown AppCrashed ")
    for selector, found in (
        ("status.phase=Destroyed,status.terminationReason=AppCrashed", "shown"),
        ("metadata.name=shown,status.phase=Running", ""),
    ):
        selected = await kubectl.run(
            *("get", "ss", "--namespace", NAMESPACE, "--field-selector", selector),
            *("--output", "jsonpath={.items[*].metadata.name}"),
        )
        assert selected.split() == found.split()


async def test_the_policies_say_all_that_the_api_server_would_fill_in(kubectl):
    """Or a second tool that applies them by server-side apply would conflict over the rest."""
    documents = [
        one
        for one in yaml.safe_load_all((checkout() / "manifests" / "policy.yaml").read_text())
        if one is not None
    ]
    assert len(documents) > 3
    for document in documents:
        name = document["metadata"]["name"]
        installed = await kubectl.json("get", document["kind"].lower(), name)
        assert installed["spec"] == document["spec"], name


async def test_a_session_that_nobody_has_looked_at_says_so(kubectl):
    """Or tools that follow kstatus would call it done before the operator has seen it."""
    await create(kubectl, session("fresh"), spawn_class("fresh"))
    assert (await read(kubectl, "fresh"))["status"] == {
        "observedGeneration": -1,
        "phase": "Requested",
    }
    row = await kubectl.run("get", "ss", "fresh", "--namespace", NAMESPACE, "--no-headers")
    assert row.split()[1] == "Requested", "an operator that is down leaves no blank row"
    fresh = await kubectl.json("get", "spawnclass", "fresh")
    assert fresh["status"] == {"observedGeneration": -1}


async def test_get_shows_which_class_is_the_default(kubectl):
    offer = yaml.safe_load((REPOSITORY / "manifests/settings/spawnclass.yaml").read_text())
    await create(kubectl, offer)
    header, row = await table(kubectl, "spawnclass", "standard")
    assert header == "NAME DEFAULT READY DOMAIN MODEL AGE"
    assert row.startswith("standard true claude-sonnet-5-5 ")
    header, row = await table(kubectl, "spawnclass", "standard", "--output", "wide")
    assert header.endswith("AGE MAX-LIFE REGIONS FIREWALL MESSAGE")
    assert row.endswith('72h ["nyc3","sfo3","ams3","sgp1","fra1","lon1","tor1"] Shared')


def spawn_budget(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnBudget",
        "metadata": {"name": name},
        "spec": spec,
    }


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"limit": "-5"}, "no sign, no currency, at most six decimals"),
        ({"limit": "5.1234567"}, "no sign, no currency, at most six decimals"),
        ({"limit": "fifty"}, "no sign, no currency, at most six decimals"),
        ({"limit": "5 EUR"}, "no sign, no currency, at most six decimals"),
        ({"limit": "1e3"}, "no sign, no currency, at most six decimals"),
        ({"limit": "5", "currency": "EUR"}, "write USD"),
        ({"limit": "5", "period": "Year"}, 'supported values: "Day", "Week", "Month"'),
        ({"limit": "5", "timeZone": "+02:00"}, "write the IANA name of a time zone"),
        ({"limit": "5", "warnAt": 101}, "should be less than or equal to 100"),
        ({"limit": "5", "selector": {"namespaces": ["Team A"]}}, "write a name in small letters"),
        ({"period": "Day"}, 'missing required field "limit"'),
    ],
)
async def test_a_bad_budget_is_refused_with_what_to_write(kubectl, spec, sentence):
    with pytest.raises(KubectlError) as refused:
        await create(kubectl, spawn_budget("bad", **spec), dry_run=True)
    assert sentence in str(refused.value)


async def test_a_price_that_is_no_amount_is_refused_with_what_to_write(kubectl):
    bad = {
        "flat": {"light": "-0.15"},
        "costPlus": {"multiplier": "three"},
        "dynamic": {"multipliers": {"complex": "1,5"}},
    }
    with pytest.raises(KubectlError) as refused:
        await create(kubectl, spawn_class("dear", pricing={"model": "Flat", **bad}), dry_run=True)
    assert 'write an amount of dollars as a string such as "0.15"' in str(refused.value)
    assert str(refused.value).count('write a number as a string such as "0.05" or "3"') == 2


async def test_a_budget_shows_what_is_left_and_fills_in_the_rest(kubectl):
    await create(kubectl, spawn_budget("team", limit="50"))
    budget = await kubectl.json("get", "spawnbudget", "team")
    assert budget["spec"] == {
        "limit": "50",
        "currency": "USD",
        "period": "Month",
        "timeZone": "UTC",
        "selector": {"users": [], "namespaces": [], "classes": []},
        "warnAt": 80,
    }
    assert budget["status"] == {"observedGeneration": -1}
    status = {"spent": "12.5", "reserved": "1.25", "left": "36.25", "sessions": 2}
    status["resetsAt"] = "2096-12-01T00:00:00Z"
    await write_status(kubectl, "sb", "team", status)
    header, row = await table(kubectl, "spawnbudgets", "team")
    assert header == "NAME LIMIT PERIOD SPENT RESERVED LEFT RESETS AGE"
    assert row.startswith("team 50 Month 12.5 1.25 36.25 2096-12-01T00:00:00Z ")


def spawn_pool(name: str, **spec: Any) -> dict[str, Any]:
    return {
        "apiVersion": API_VERSION,
        "kind": "SpawnPool",
        "metadata": {"name": name},
        "spec": {"className": "standard", **spec},
    }


@pytest.mark.parametrize(
    ("spec", "sentence"),
    [
        ({"tier": "light", "size": "s-1vcpu-1gb"}, "write a tier or a size, not both"),
        ({"tier": "huge"}, 'supported values: "light", "standard", "complex"'),
        ({"size": "Large"}, "write a DigitalOcean size slug"),
        ({"region": "the moon"}, "write a DigitalOcean region slug"),
        ({"replicas": -1}, "should be greater than or equal to 0"),
        ({"replicas": 101}, "should be less than or equal to 100"),
        ({"replicas": 3, "maxTotal": 2}, "write at least as many as spec.replicas"),
        ({"maxAge": "30m"}, "write a duration from 1h to 7d"),
        ({"maxAge": "a day"}, "this is not a duration"),
        ({"className": "No Class"}, "write the name of a SpawnClass"),
        ({"className": None}, 'missing required field "className"'),
    ],
)
async def test_a_bad_pool_is_refused_with_what_to_write(kubectl, spec, sentence):
    bad = spawn_pool("bad", **spec)
    bad["spec"] = {name: value for name, value in bad["spec"].items() if value is not None}
    with pytest.raises(KubectlError) as refused:
        await create(kubectl, bad, dry_run=True)
    assert sentence in str(refused.value)


async def test_a_pool_is_scaled_and_shows_how_it_stands(kubectl):
    await create(kubectl, spawn_pool("spares"))
    pool = await kubectl.json("get", "spawnpool", "spares")
    assert pool["spec"] == {"className": "standard", "replicas": 1, "minReady": 0, "maxAge": "24h"}
    assert pool["status"] == {"observedGeneration": -1}
    await write_status(kubectl, "sp", "spares", {"ready": 1, "booting": 2, "claimed": 4})
    await kubectl.run("scale", "spawnpool", "spares", "--replicas", "3")
    header, row = await table(kubectl, "spawnpools", "spares")
    assert header == "NAME CLASS WANTED READY BOOTING CLAIMED AGE"
    assert row.startswith("spares standard 3 1 2 4 ")


async def test_a_ledger_shows_whose_it_is_and_its_intent_is_fixed(kubectl):
    record = {
        "apiVersion": API_VERSION,
        "kind": "SpawnRecord",
        "metadata": {"name": RECORD_UID},
        "spec": {
            "owner": {
                "kind": "SpawnSession",
                "namespace": NAMESPACE,
                "name": "shown",
                "uid": RECORD_UID,
                "user": "dana",
            },
            "clusterUid": "c",
            "planned": [{"kind": "Droplet", "name": f"spawn-{RECORD_UID}"}],
        },
    }
    await apply(kubectl, record)
    try:
        await write_status(
            kubectl, "sr", RECORD_UID, {"totalCost": "0.0312", "terminationReason": "Expired"}
        )
        header, row = await table(kubectl, "sr", RECORD_UID)
        assert header == "NAME KIND NAMESPACE OWNER USER COST REASON COMPLETED AGE"
        assert row.startswith(f"{RECORD_UID} SpawnSession {NAMESPACE} shown dana 0.0312 Expired ")
        record["spec"]["planned"] = []
        assert (
            "spec: Forbidden: a ledger's intent cannot change: leave SpawnRecords to the operator"
        ) in await refusal(kubectl, record)
    finally:
        await kubectl.run("delete", "sr", RECORD_UID)


async def as_user(kubectl: Kubectl, user: str, manifest: dict[str, Any]) -> str:
    """`kubectl create` by somebody else, without a trace."""
    return await kubectl.run(
        *("create", "--filename", "-", "--dry-run=server", "--as", user),
        standard_input=json.dumps(manifest),
    )


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def people(kubectl: Kubectl) -> None:
    """Dana may order in the namespace, a portal may name anybody, an owner may do all there."""
    await kubectl.run(
        *("create", "role", "everything", "--namespace", NAMESPACE),
        *("--verb=*", f"--resource=*.{GROUP}"),
    )
    for number, (person, role) in enumerate(
        (
            ("dana@example.com", "--clusterrole=spawnai-session-editor"),
            ("portal", "--clusterrole=spawnai-session-editor"),
            ("portal", "--clusterrole=spawnai-user-setter"),
            ("owner", "--role=everything"),
        )
    ):
        await kubectl.run(
            *("create", "rolebinding", f"people-{number}", "--namespace", NAMESPACE),
            *(role, f"--user={person}"),
        )


@pytest.mark.parametrize(
    ("person", "user", "taken"),
    [
        ("dana@example.com", None, True),
        ("dana@example.com", NAMESPACE, True),
        ("dana@example.com", "dana@example.com", True),
        ("dana@example.com", "eve@example.com", False),
        ("dana@example.com", "other-namespace", False),
        ("portal", "eve@example.com", True),
    ],
)
async def test_only_who_may_set_the_user_names_another_than_himself(
    kubectl, people, person, user, taken
):
    order = session("whose", user=user)
    if taken:
        await as_user(kubectl, person, order)
        return
    with pytest.raises(KubectlError) as caught:
        await as_user(kubectl, person, order)
    assert f'spec.user is somebody else than you, "{person}": leave it out' in caught.value.answer


async def until_stamped(kubectl: Kubectl, *, user: str | None) -> None:
    """The API server takes the policy up, or gives it up, within a second or so."""
    async with asyncio.timeout(30):
        while True:
            shown = await kubectl.run(
                *("create", "--filename", "-", "--dry-run=server", "--output", "json"),
                standard_input=json.dumps(session("probe")),
            )
            if json.loads(shown)["spec"].get("user") == user:
                return
            await asyncio.sleep(0.1)


async def test_the_namespace_is_stamped_on_who_names_nobody_and_stays(kubectl, people):
    """Where MutatingAdmissionPolicy is served: an option, so it is taken away again."""
    version = json.loads(await kubectl.run("get", "--raw", "/version"))
    if int(version["minor"].rstrip("+")) < STAMPS_SINCE:
        pytest.skip(f"Kubernetes 1.{version['minor']} serves no MutatingAdmissionPolicy in v1")
    stamp = ("-k", str(REPOSITORY / "manifests" / "user-stamp"))
    await kubectl.run("apply", "--server-side", "--warnings-as-errors", *stamp)
    try:
        await until_stamped(kubectl, user=NAMESPACE)
        # Who names somebody is not touched, and is still checked.
        await as_user(kubectl, "dana@example.com", session("named", user="dana@example.com"))
        with pytest.raises(KubectlError, match="somebody else than you"):
            await as_user(kubectl, "dana@example.com", session("named", user="eve@example.com"))
        for name, way in (("client-side", ()), ("server-side", SERVER_SIDE)):
            manifest = session(f"stamped-{name}")
            await apply(kubectl, manifest, *way)
            before = await read(kubectl, f"stamped-{name}")
            assert before["spec"] == manifest["spec"] | {"user": NAMESPACE}
            await apply(kubectl, manifest, *way)
            await kubectl.run("replace", "--filename", "-", standard_input=json.dumps(manifest))
            assert (await read(kubectl, f"stamped-{name}"))["spec"] == before["spec"]
    finally:
        await kubectl.run("delete", *stamp)
        await until_stamped(kubectl, user=None)


async def test_an_owner_of_a_namespace_with_every_right_in_it_cannot_write_a_status(
    kubectl, people
):
    await create(kubectl, session("unforgeable"))
    with pytest.raises(KubectlError) as caught:
        await kubectl.run(
            *("patch", "ss", "unforgeable", "--namespace", NAMESPACE, "--subresource=status"),
            *("--type=merge", "--patch", json.dumps({"status": RUNNING}), "--as", "owner"),
        )
    assert "every status are written by the operator" in caught.value.answer


async def test_only_the_operator_and_administrators_of_the_cluster_write_ledgers(kubectl):
    """Whatever RBAC says of the usual verbs: nobody is given `keep` by mistake."""
    writer = "ledger-writer"
    await kubectl.run(
        *("create", "clusterrole", writer, "--verb=get,create,update,patch,delete"),
        "--resource=spawnrecords.spawn-ai.com,spawnrecords.spawn-ai.com/status",
    )
    await kubectl.run(
        *("create", "clusterrolebinding", writer, f"--clusterrole={writer}", "--user=eve")
    )
    record = {
        "apiVersion": API_VERSION,
        "kind": "SpawnRecord",
        "metadata": {"name": RECORD_UID},
        "spec": {
            "owner": {"kind": "SpawnSession", "name": "x", "uid": RECORD_UID},
            "clusterUid": "c",
        },
    }
    await create(kubectl, record)
    forged = json.dumps({"status": {"residuals": ["droplet 1"]}})
    try:
        for arguments in (
            ("patch", "sr", RECORD_UID, "--subresource=status", "--type=merge", "--patch", forged),
            ("delete", "sr", RECORD_UID),
        ):
            with pytest.raises(KubectlError) as caught:
                await kubectl.run(*arguments, "--as", "eve")
            assert "written by the operator" in caught.value.answer
    finally:
        await kubectl.run("delete", "sr", RECORD_UID)
        await kubectl.run("delete", "clusterrolebinding,clusterrole", writer)


OPERATOR_GROUPS = ["system:serviceaccounts", "system:authenticated"]


def where(resource: str, group: str = "", *, namespace: str = "", name: str = "") -> dict[str, str]:
    """The part of a SubjectAccessReview that says what is touched."""
    resource, _, subresource = resource.partition("/")
    return {
        "resource": resource,
        "subresource": subresource,
        "group": group,
        "namespace": namespace,
        "name": name,
    }


SESSIONS = where("spawnsessions", GROUP, namespace="default")
SECRETS = where("secrets", namespace="default")
EVENTS = where("events", namespace="default")
LEASES = "leases", "coordination.k8s.io"


@pytest.mark.parametrize(
    ("allowed", "verbs", "what"),
    [
        (True, "get list watch patch delete", SESSIONS),
        (False, "create update deletecollection", SESSIONS),
        (True, "patch", where("spawnsessions/status", GROUP, namespace="default")),
        (True, "list watch patch", where("spawnclasses", GROUP)),
        (False, "create update delete", where("spawnclasses", GROUP)),
        (True, "get list watch create patch delete", where("spawnrecords", GROUP)),
        (False, "update deletecollection", where("spawnrecords", GROUP)),
        (False, "get create list watch update patch delete deletecollection", SECRETS),
        (False, "get create list", where("secrets", namespace="kube-system")),
        (True, "get create", where("secrets", namespace="spawnai-system")),
        (
            False,
            "list watch update patch delete deletecollection",
            where("secrets", namespace="spawnai-system"),
        ),
        (True, "get", where("namespaces", name="kube-system")),
        (True, "get", where("namespaces", name="default")),
        (False, "list watch update patch delete", where("namespaces", name="default")),
        (True, "create patch", EVENTS),
        (False, "get list update delete", EVENTS),
        (True, "create", where(*LEASES, namespace="spawnai-system")),
        (True, "get patch", where(*LEASES, namespace="spawnai-system", name="spawnai-operator")),
        (False, "get patch delete", where(*LEASES, namespace="spawnai-system", name="another")),
        (False, "create get patch", where(*LEASES, namespace="kube-system")),
        (False, "get create patch", where("customresourcedefinitions", "apiextensions.k8s.io")),
        (True, "create", where("subjectaccessreviews", "authorization.k8s.io")),
        (True, "create", where("tokenreviews", "authentication.k8s.io")),
        (False, "get list create", where("pods", namespace="default")),
        (False, "create", where("serviceaccounts/token", namespace="spawnai-system")),
    ],
)
async def test_the_operator_has_the_rights_that_it_needs_and_no_others(
    kubectl, allowed, verbs, what
):
    for verb in verbs.split():
        review = {
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": "system:serviceaccount:spawnai-system:spawnai-operator",
                "groups": OPERATOR_GROUPS,
                "resourceAttributes": {"verb": verb, **what},
            },
        }
        answer = await kubectl.run(
            *("create", "--filename", "-", "--output", "json"), standard_input=json.dumps(review)
        )
        assert json.loads(answer)["status"].get("allowed", False) is allowed, f"{verb} {what}"


ESCALATIONS = (
    "get secrets --namespace kube-system",
    "create secrets --namespace kube-system",
    "get secrets --all-namespaces",
    "create secrets --all-namespaces",
    "list secrets --namespace spawnai-system",
    "create serviceaccounts/token --all-namespaces",
    "create serviceaccounts --all-namespaces",
    "create pods --namespace spawnai-system",
    "create pods/exec --all-namespaces",
    "create pods/ephemeralcontainers --all-namespaces",
    "create deployments.apps --namespace spawnai-system",
    "patch deployments.apps --namespace spawnai-system",
    "create jobs.batch --all-namespaces",
    "bind clusterroles.rbac.authorization.k8s.io",
    "escalate clusterroles.rbac.authorization.k8s.io",
    "create clusterrolebindings.rbac.authorization.k8s.io",
    "patch clusterroles.rbac.authorization.k8s.io",
    "create rolebindings.rbac.authorization.k8s.io --all-namespaces",
    "impersonate users",
    "impersonate groups",
    "impersonate serviceaccounts --all-namespaces",
    "create certificatesigningrequests.certificates.k8s.io",
    "approve signers.certificates.k8s.io",
    "patch customresourcedefinitions.apiextensions.k8s.io",
    "create customresourcedefinitions.apiextensions.k8s.io",
    "create validatingwebhookconfigurations.admissionregistration.k8s.io",
    "create mutatingwebhookconfigurations.admissionregistration.k8s.io",
    "patch validatingadmissionpolicies.admissionregistration.k8s.io",
    "delete validatingadmissionpolicybindings.admissionregistration.k8s.io",
    "create nodes/proxy",
    "get nodes",
    "patch namespaces",
    "get configmaps --all-namespaces",
    "create spawnsessions.spawn-ai.com --all-namespaces",
    "delete spawnclasses.spawn-ai.com",
    "* *",
)
"""What would make the operator's account, or whoever steals its token, more than an operator."""


@pytest.mark.parametrize("right", ESCALATIONS)
async def test_the_api_server_says_no_to_what_would_make_the_operator_more_than_an_operator(
    kubectl, right
):
    with pytest.raises(KubectlError) as caught:
        await kubectl.run(
            *("auth", "can-i", "--quiet", *right.split()),
            *("--as", "system:serviceaccount:spawnai-system:spawnai-operator"),
            *(f"--as-group={group}" for group in OPERATOR_GROUPS),
        )
    # It says no by its exit code; whatever else went wrong would be told.
    told = [line for line in caught.value.answer.splitlines() if not line.startswith("Warning:")]
    assert told == []


async def test_an_editor_of_a_namespace_may_order_apps_but_not_write_ledgers(kubectl):
    rules = (await kubectl.json("get", "clusterrole", "spawnai-session-editor"))["rules"]
    assert {resource for rule in rules for resource in rule["resources"]} == {"spawnsessions"}
    deadline = time.monotonic() + 20
    while True:  # the controller-manager joins the roles
        edit = (await kubectl.json("get", "clusterrole", "edit"))["rules"]
        found = {
            (resource, verb)
            for rule in edit or ()
            for resource in rule.get("resources", ())
            for verb in rule["verbs"]
            if "spawn-ai.com" in rule.get("apiGroups", ())
        }
        if found or time.monotonic() > deadline:
            break
        await asyncio.sleep(0.1)
    assert ("spawnsessions", "create") in found
    assert {resource for resource, verb in found if verb != "get"} == {"spawnsessions"}
    assert not any(resource.endswith("/status") for resource, _ in found)
    assert {resource.partition("/")[0] for resource, _ in found} == {"spawnsessions"}


async def test_whoever_may_order_may_see_the_offers(kubectl, people):
    await kubectl.run(
        *("auth", "can-i", "--quiet", "list", f"spawnclasses.{GROUP}"),
        *("--as", "dana@example.com", "--as-group", "system:authenticated"),
    )


async def test_the_operator_sees_which_fields_the_api_server_would_drop(kubectl, control_plane):
    configuration = client.Configuration()
    await config.load_kube_config(
        config_file=str(control_plane.kubeconfig), client_configuration=configuration
    )
    async with client.ApiClient(configuration) as api:
        cluster = Cluster(api, before_write=lambda: None)
        for resource in RESOURCES:
            served = await cluster.served_schema(f"{resource.plural}.{GROUP}", VERSION)
            assert served is not None
            assert list(missing_fields(object_schema(resource), served)) == []
        assert await cluster.served_schema(f"spawnpools-of-old.{GROUP}", VERSION) is None
        assert await cluster.own_rules("default") is not None
        assert await cluster.clock_ahead(SystemClock()) == 0.0
