"""What kubectl, Argo CD and Flux make of an object's conditions (kstatus's rules for any kind)."""

from collections.abc import Mapping
from typing import Any


def condition(document: Mapping[str, Any], type_: str) -> dict[str, Any]:
    """The condition of that type; an empty one when the object has none."""
    conditions = document.get("status", {}).get("conditions", [])
    return next((known for known in conditions if known["type"] == type_), {})


def is_true(document: Mapping[str, Any], type_: str) -> bool:
    """Whether the condition is there and True."""
    return condition(document, type_).get("status") == "True"


def kstatus(document: Mapping[str, Any]) -> str:
    """InProgress, Failed, Current or Terminating."""
    metadata, status = document["metadata"], document.get("status", {})
    if metadata.get("deletionTimestamp"):
        return "Terminating"
    if status.get("observedGeneration", metadata["generation"]) != metadata["generation"]:
        return "InProgress"
    if is_true(document, "Reconciling"):
        return "InProgress"
    if is_true(document, "Stalled"):
        return "Failed"
    ready = condition(document, "Ready")
    return "Current" if ready.get("status", "True") == "True" else "InProgress"
