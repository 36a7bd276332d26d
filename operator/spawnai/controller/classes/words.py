"""How a class's status tells of its gateway."""

from datetime import datetime

from spawnai.api.conditions import Condition, ConditionType
from spawnai.controller.store import StoredClass

from .gateways import PENDING, Gateway
from .state import class_condition

VALID, NAMED = "Valid", "Named"
SILENT = frozenset({VALID, NAMED, PENDING})
"""Reasons that no event tells: nothing is wrong."""


def gateway_conditions(
    known: StoredClass, gateway: Gateway | None, now: datetime
) -> list[Condition]:
    """CertificateReady and DNSReady of a class with a gateway; none of another."""
    if gateway is None or known.spec is None:
        return []
    return [_certificate(known, gateway, now), _name(known, gateway, now)]


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
