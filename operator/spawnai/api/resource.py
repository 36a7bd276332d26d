"""A kind of the API: its names, its models and what `kubectl get` shows of it."""

from dataclasses import dataclass

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
class CustomResource:
    """A kind, from which its CustomResourceDefinition is made.

    `selectable` names the fields that `--field-selector` takes, as JSON paths. `defaults`: whether
    the API server fills in what a spec leaves out. `spec_required`: whether an object without a
    spec is refused.
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

    @property
    def singular(self) -> str:
        """The name of one: `kubectl explain spawnsession`."""
        return self.kind.lower()
