"""The reference pages."""

from collections.abc import Mapping, Sequence
from typing import Any

from .resource import CustomResource


def reference_pages(
    resources: Sequence[CustomResource], schemas: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    return {}
