"""How an app is reached, while its class moves from one mode to another.

A session keeps the way that it began with: the URL that was told leads to the app until its end.
Its ledger says which. A class that is moved serves new sessions in its new mode. What the old mode
needs stays until the last session that began with it has ended: each session's own record and
certificate, and the gateway's `*.domain` of the class (controller/classes/gateways.py).
"""

from spawnai.api.record import BegunExposure, RecordSpec
from spawnai.api.spawnclass import ClassSpec, ExposureMode


def begun_exposure(spec: ClassSpec) -> BegunExposure:
    """What the ledger of a session that begins now says of its way."""
    return BegunExposure(mode=spec.exposure.mode.value, domain=spec.exposure.domain)


def as_begun(spec: ClassSpec, record: RecordSpec | None) -> ClassSpec:
    """The class as it is for a session that has begun: with the way of its ledger."""
    if record is None or record.exposure is None or record.exposure == begun_exposure(spec):
        return spec
    began = {"mode": ExposureMode(record.exposure.mode), "domain": record.exposure.domain}
    return spec.model_copy(update={"exposure": spec.exposure.model_copy(update=began)})


def began_with_load_balancer(record: RecordSpec) -> bool:
    """Whether a session has a load balancer of its own, by its ledger."""
    return record.exposure is not None and record.exposure.mode == ExposureMode.LOAD_BALANCER.value


def began_behind_gateway(record: RecordSpec) -> bool:
    """Whether a session's app is reached through its class's gateway, by its ledger."""
    return record.exposure is not None and record.exposure.mode == ExposureMode.WILDCARD.value
