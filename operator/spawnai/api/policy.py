"""The admission policies: what the rules of a CRD cannot see.

* The annotations of a SpawnSession: values that the operator could not read are refused. The policy
  takes exactly what `durations.py` takes, as it is made from the same patterns.
* `spec.user`, whom limits and cost belong to: the namespace, whoever makes the session, or, for who
  may `set` the made-up subresource `spawnsessions/user`, anybody.
* Ledgers, and the status of every kind: only for who may `keep` `spawnrecords`, a verb that nothing
  but these policies asks for. The operator has it, and administrators of the whole cluster have
  every verb. A role in a namespace cannot give it, as SpawnRecords belong to none, so an owner of a
  namespace with all verbs on everything in it cannot write a status either.
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
USER_POLICY_NAME = f"users.{GROUP}"
LEDGER_POLICY_NAME = f"ledgers.{GROUP}"

USER_RESOURCE, USER_VERB = "spawnsessions/user", "set"
"""Who has this right in a namespace may name any user in a session there."""

LEDGER_RESOURCE, LEDGER_VERB = "spawnrecords", "keep"
"""Who has this right may write ledgers and the status of every kind."""


def policy_documents() -> tuple[dict[str, Any], ...]:
    """The policies, each with its binding."""
    return (*_session_policy(), *_user_policy(), *_ledger_policy())


def _session_policy() -> tuple[dict[str, Any], dict[str, Any]]:
    # No expression below can fail, whatever a manifest holds; Fail is for what no one foresaw, as
    # an unreadable lifetime must not get by.
    return _policy(
        POLICY_NAME,
        operations=["CREATE", "UPDATE"],
        resources=["spawnsessions"],
        spec={
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
    )


def _user_policy() -> tuple[dict[str, Any], dict[str, Any]]:
    """The user of a session cannot change, so its creation is all there is to look at."""
    resource, _, subresource = USER_RESOURCE.partition("/")
    may_set = (
        f"authorizer.group({cel_text(GROUP)}).resource({cel_text(resource)})"
        f".subresource({cel_text(subresource)}).namespace(request.namespace)"
        f".check({cel_text(USER_VERB)}).allowed()"
    )
    right = f"the right to {USER_VERB} {USER_RESOURCE} in this namespace"
    return _policy(
        USER_POLICY_NAME,
        operations=["CREATE"],
        resources=["spawnsessions"],
        spec={
            "validations": [
                {
                    "expression": (
                        "!has(object.spec.user)\n"
                        "|| object.spec.user in [request.namespace, request.userInfo.username]\n"
                        f"|| {may_set}"
                    ),
                    "reason": "Forbidden",
                    "message": (
                        "spec.user is somebody else: leave it out (limits and cost then belong to "
                        f"the namespace), write your own name, or ask for {right}"
                    ),
                    "messageExpression": (
                        "'spec.user is somebody else than you, ' + "
                        "strings.quote(request.userInfo.username) + "
                        + cel_text(
                            ": leave it out (limits and cost then belong to the namespace), write "
                            f"your own name, or ask for {right}"
                        )
                    ),
                }
            ]
        },
    )


def _ledger_policy() -> tuple[dict[str, Any], dict[str, Any]]:
    may_keep = (
        f"authorizer.group({cel_text(GROUP)}).resource({cel_text(LEDGER_RESOURCE)})"
        f".check({cel_text(LEDGER_VERB)}).allowed()"
    )
    return _policy(
        LEDGER_POLICY_NAME,
        operations=["CREATE", "UPDATE", "DELETE"],
        resources=[
            "spawnrecords",
            "spawnrecords/status",
            "spawnsessions/status",
            "spawnclasses/status",
            "spawnbudgets/status",
            "spawnpools/status",
        ],
        spec={
            "validations": [
                {
                    "expression": may_keep,
                    "reason": "Forbidden",
                    "message": (
                        "SpawnRecords and every status are written by the operator: this needs "
                        f"the right to {LEDGER_VERB} {LEDGER_RESOURCE} in the whole cluster"
                    ),
                }
            ]
        },
    )


def _policy(
    name: str, *, operations: list[str], resources: list[str], spec: dict[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """A policy that denies, and its binding."""
    policy = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicy",
        "metadata": {"name": name},
        "spec": {
            "failurePolicy": "Fail",
            # What the API server fills in: another server-side manager that applies this file
            # then owns the same fields, and meets no conflict.
            "matchConstraints": {
                "matchPolicy": "Equivalent",
                "namespaceSelector": {},
                "objectSelector": {},
                "resourceRules": [
                    {
                        "apiGroups": [GROUP],
                        "apiVersions": ["*"],
                        "operations": operations,
                        "resources": resources,
                        "scope": "*",
                    }
                ],
            },
            **spec,
        },
    }
    binding = {
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "ValidatingAdmissionPolicyBinding",
        "metadata": {"name": name},
        "spec": {"policyName": name, "validationActions": ["Deny"]},
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
