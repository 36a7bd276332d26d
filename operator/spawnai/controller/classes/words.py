"""How a class's status tells of its gateway, its baked image, its runtime and its limits."""

from datetime import datetime, timedelta

from spawnai.api.conditions import Condition, ConditionType
from spawnai.api.durations import format_duration, parse_duration
from spawnai.api.spawnclass import ExposureMode
from spawnai.app_runtime import NODE_VERSION
from spawnai.controller.images.class_images import ImageNews
from spawnai.controller.store import StoredClass
from spawnai.generation.claude import DEFAULT_LIMITS, seconds_for

from .gateways import PENDING, Gateway
from .state import ClassProblem, ClassState, class_condition

VALID, NAMED = "Valid", "Named"
IN_EVERY_REGION, BAKING, BAKE_FAILED = "InEveryRegion", "Baking", "BakeFailed"
SILENT = frozenset({VALID, NAMED, PENDING, IN_EVERY_REGION, BAKING})
"""Reasons that no event tells: nothing is wrong."""


def gateway_conditions(
    known: StoredClass, gateway: Gateway | None, now: datetime
) -> list[Condition]:
    """CertificateReady and DNSReady of a class with a gateway; none of another."""
    if gateway is None or known.spec is None:
        return []
    return [_certificate(known, gateway, now), _name(known, gateway, now)]


def hosted_conditions(
    known: StoredClass, state: ClassState, problem: ClassProblem | None, now: datetime
) -> list[Condition]:
    """CertificateReady of a class whose sessions have load balancers; none of another."""
    if known.spec is None or known.spec.exposure.mode is not ExposureMode.LOAD_BALANCER:
        return []
    hosted, reason, words = state.hosted, VALID, ""
    if hosted is not None:
        until = f" until {hosted.not_after:%Y-%m-%dT%H:%M:%SZ}" if hosted.not_after else ""
        words = f"{hosted.host}{until}, at DigitalOcean for the load balancers"
        if known.spec.exposure.tls is None:
            words += "; DigitalOcean renews it"
    else:
        reason = problem.reason if problem is not None else PENDING
        words = str(problem or "")
    return [
        class_condition(
            known,
            now,
            ConditionType.CERTIFICATE_READY,
            reason,
            words,
            is_true=hosted is not None,
        )
    ]


def image_conditions(known: StoredClass, image: ImageNews | None, now: datetime) -> list[Condition]:
    """ImageReady of a class that wants a baked image; none of another."""
    if image is None:
        return []
    numbers = ", ".join(f"{one} in {where}" for where, one in sorted(image.offered.items()))
    words = f"Droplets start from the image {numbers}" if numbers else "There is no image yet"
    if image.missing:
        words += f"; from the stock image in {', '.join(image.missing)}"
    if image.words:
        words += f"; {image.words}"
    reason = BAKE_FAILED if image.has_failed else BAKING
    return [
        class_condition(
            known,
            now,
            ConditionType.IMAGE_READY,
            reason if image.missing else IN_EVERY_REGION,
            words,
            is_true=not image.missing,
        )
    ]


def runtime_words(known: StoredClass) -> str:
    """What a person should know of the Node.js that the class's droplets install; empty: nothing.

    A class without the hash of an archive is valid: its image may bring what apps run on.
    """
    if known.spec is None or known.spec.runtime.node_sha256 is not None:
        return ""
    return (
        "droplets install the distribution's Node.js, which may be older than the "
        f"{NODE_VERSION.partition('.')[0]} that apps are written for: put into spec.runtime what "
        "`spawnai runtime lock` prints"
    )


def answer_words(known: StoredClass) -> str:
    """What a person should know of limits that do not fit each other; empty: nothing.

    An answer as long as its token limit allows is paid in full, and then comes too late.
    """
    if known.spec is None:
        return ""
    model, lifetime = known.spec.model, known.spec.lifetime
    takes = timedelta(
        seconds=round(seconds_for(model.name, model.max_output_tokens, DEFAULT_LIMITS))
    )
    if takes < parse_duration(lifetime.provisioning_deadline):
        return ""
    return (
        f"an answer of spec.model.maxOutputTokens ({model.max_output_tokens}) from {model.name} "
        f"may take {format_duration(takes)}, and spec.lifetime.provisioningDeadline is "
        f"{lifetime.provisioning_deadline}: lower the first, or raise the second"
    )


def _certificate(known: StoredClass, gateway: Gateway, now: datetime) -> Condition:
    found, trouble = gateway.certificate, gateway.certificate_trouble
    if found is None:
        reason = trouble.reason if trouble is not None else PENDING
        return class_condition(
            known, now, ConditionType.CERTIFICATE_READY, reason, str(trouble or ""), is_true=False
        )
    words = f"{', '.join(found.names)} until {found.not_after:%Y-%m-%dT%H:%M:%SZ}"
    if trouble is None:
        if gateway.renew_at is not None:
            words += f"; the operator renews it from {gateway.renew_at:%Y-%m-%dT%H:%M:%SZ} on"
        reason, is_true = VALID, True
    else:
        # While much of its life is left the next tries may do; then a person has to look.
        words += f"; but {trouble}"
        reason, is_true = trouble.reason, not gateway.is_expiring(now)
    return class_condition(
        known, now, ConditionType.CERTIFICATE_READY, reason, words, is_true=is_true
    )


def _name(known: StoredClass, gateway: Gateway, now: datetime) -> Condition:
    trouble = gateway.name_trouble
    if trouble is not None:
        return class_condition(
            known,
            now,
            ConditionType.DNS_READY,
            trouble.reason,
            str(trouble),
            is_true=gateway.is_named,
        )
    domain = known.spec.exposure.domain if known.spec is not None else None
    where = f" at {gateway.address}" if gateway.address is not None else ""
    words = f"*.{domain} leads to the gateway{where}"
    return class_condition(known, now, ConditionType.DNS_READY, NAMED, words, is_true=True)
