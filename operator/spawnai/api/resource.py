"""A kind of the API: its names, its models and what `kubectl get` shows of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .base import ApiModel


@dataclass(frozen=True, slots=True)
class Column:
    """A column of `kubectl get`; those of priority 1 only with `-o wide`."""

    name: str
    json_path: str
    description: str
    type: str = "string"
    priority: int = 0


@dataclass(frozen=True, slots=True)
class Scale:
    """The JSON paths by which `kubectl scale` and autoscalers read and write a number of things."""

    spec_replicas: str
    status_replicas: str
    selector: str


@dataclass(frozen=True, slots=True)
class CustomResource:
    """A kind, from which its CustomResourceDefinition is made.

    `selectable` names the fields that `--field-selector` takes, as JSON paths. `defaults`: whether
    the API server fills in what a spec leaves out. `spec_required`: whether an object without a
    spec is refused. `first_status`: what a status says before the operator has seen the object,
    beside that it has not. `scale`: how it is scaled, where it can be.
    """

    kind: str
    plural: str
    namespaced: bool
    description: str
    spec: type[ApiModel]
    spec_description: str
    status: type[ApiModel]
    status_description: str
    columns: tuple[Column, ...]
    short_names: tuple[str, ...] = ()
    selectable: tuple[str, ...] = ()
    defaults: bool = False
    spec_required: bool = True
    first_status: Mapping[str, Any] = field(default_factory=dict)
    scale: Scale | None = None

    @property
    def singular(self) -> str:
        """The name of one: `kubectl explain spawnsession`."""
        return self.kind.lower()
