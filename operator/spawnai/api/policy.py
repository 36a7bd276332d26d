"""The admission policy for the annotations of a SpawnSession.

The rules of a CRD cannot see annotations, so a ValidatingAdmissionPolicy beside it refuses the
values that the operator could not read. It takes exactly what `durations.py` takes, as it is made
from the same patterns.
"""

from typing import Any

from .durations import (
    DURATION_ANNOTATION_PATTERN,
    DURATION_HELP,
    MAX_LENGTH,
    NOW_ANNOTATION_PATTERN,
    TIME_ANNOTATION_PATTERN,
    TIME_HELP,
)
from .names import EXPIRES_AT_ANNOTATION, GROUP, TTL_ANNOTATION
from .schema import cel_matches, cel_text

POLICY_NAME = f"sessions.{GROUP}"


def policy_documents() -> tuple[dict[str, Any], dict[str, Any]]:
    """The policy and its binding."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": POLICY_NAME},
        "spec": {
            # No expression below can fail, whatever a manifest holds; Fail is for what no one
            # foresaw, as an unreadable lifetime must not get by.
            "failurePolicy": "Fail",
            "matchConstraints": {
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": ["*"],
                        "operations": ["CREATE", "UPDATE"],
                        "resources": ["spawnsessions"],
                    }
                ]
            },
            "variables": [
                _annotation_variable("ttl", "object", TTL_ANNOTATION),
                _annotation_variable("oldTtl", "oldObject", TTL_ANNOTATION),
                _annotation_variable("expiresAt", "object", EXPIRES_AT_ANNOTATION),
                _annotation_variable("oldExpiresAt", "oldObject", EXPIRES_AT_ANNOTATION),
            ],
            "validations": [
                _validation(
                    TTL_ANNOTATION,
                    value="variables.ttl",
                    old="variables.oldTtl",
                    patterns=(DURATION_ANNOTATION_PATTERN,),
                    problem=f"is not a duration: {DURATION_HELP}",
                ),
                _validation(
                    EXPIRES_AT_ANNOTATION,
                    value="variables.expiresAt",
                    old="variables.oldExpiresAt",
                    patterns=(NOW_ANNOTATION_PATTERN, TIME_ANNOTATION_PATTERN),
                    problem=f"is not a time: {TIME_HELP}",
                ),
            ],
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": POLICY_NAME},
        "spec": {"policyName": POLICY_NAME, "validationActions": ["Deny"]},
    }
    return policy, binding


def _annotation_variable(name: str, holder: str, annotation: str) -> dict[str, str]:
    """A list with the annotation's value, or an empty one where it is not set."""
    key = cel_text(annotation)
    return {
        "name": name,
        "expression": (
            f"{holder} != null && has({holder}.metadata.annotations)\n"
            f"  && {key} in {holder}.metadata.annotations\n"
            f"? [{holder}.metadata.annotations[{key}]] : []"
        ),
    }


def _validation(
    annotation: str, *, value: str, old: str, patterns: tuple[str, ...], problem: str
) -> dict[str, str]:
    """Absent, unchanged or readable: an old bad value must not stand in the way of a finalizer."""
    text = f"{value}[0]"
    readable = "\n  || ".join(cel_matches(text, pattern) for pattern in patterns)
    shown = f"{text}.size() > {MAX_LENGTH} ? {text}.substring(0, {MAX_LENGTH - 3}) + '...' : {text}"
    return {
        "expression": (
            f"{value} == []\n|| {value} == {old}\n"
            f"|| ({text}.size() <= {MAX_LENGTH} && (\n  {readable}))"
        ),
        "message": f"the annotation {annotation} {problem}",
        "messageExpression": (
            f"{cel_text(f'the annotation {annotation}: ')}\n+ strings.quote({shown})\n"
            f"+ {cel_text(f' {problem}')}"
        ),
    }
