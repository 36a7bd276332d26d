"""Write crds/, the admission policy and the reference from the models, or check that they are so.

`python -m spawnai.api.crds` writes; `--check` writes nothing and fails when a file differs.
"""

import argparse
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from .budget import SPAWN_BUDGET
from .names import GROUP, VERSION
from .policy import policy_documents
from .pool import SPAWN_POOL
from .record import SPAWN_RECORD
from .reference import reference_pages
from .resource import Column, CustomResource
from .session import SPAWN_SESSION
from .spawnclass import SPAWN_CLASS
from .structural import ordered, structural_schema

RESOURCES = (SPAWN_SESSION, SPAWN_CLASS, SPAWN_RECORD, SPAWN_BUDGET, SPAWN_POOL)
CATEGORY = "spawnai"

NOT_PRUNED = {
    "argocd.argoproj.io/sync-options": "Prune=false",
    "kustomize.toolkit.fluxcd.io/prune": "disabled",
}
"""A GitOps tool that is told to remove the installation removes everything at once. Without its
kinds and rights the operator could destroy nothing, and all sessions would hang Terminating."""

NOT_OBSERVED = {"observedGeneration": -1}
"""The status of an object that nobody has looked at. Tools that follow kstatus read it as in
progress; an empty status would read as done."""

_HEADER = "# Made from the models in operator/spawnai/api by `make generate`. Do not edit.\n"


def custom_resource_definition(resource: CustomResource) -> dict[str, Any]:
    """The CustomResourceDefinition of a kind."""
    names: dict[str, Any] = {
        "kind": resource.kind,
        "listKind": f"{resource.kind}List",
        "plural": resource.plural,
        "singular": resource.singular,
        "categories": [CATEGORY],
    }
    if resource.short_names:
        names["shortNames"] = list(resource.short_names)
    version: dict[str, Any] = {
        "name": VERSION,
        "served": True,
        "storage": True,
        "subresources": {"status": {}},
        "additionalPrinterColumns": [_column(column) for column in resource.columns],
        "schema": {"openAPIV3Schema": object_schema(resource)},
    }
    if resource.scale is not None:
        version["subresources"]["scale"] = {
            "specReplicasPath": resource.scale.spec_replicas,
            "statusReplicasPath": resource.scale.status_replicas,
            "labelSelectorPath": resource.scale.selector,
        }
    if resource.selectable:
        version["selectableFields"] = [{"jsonPath": path} for path in resource.selectable]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {
            "name": f"{resource.plural}.{GROUP}",
            "annotations": dict(NOT_PRUNED),
        },
        "spec": {
            "group": GROUP,
            "names": names,
            "scope": "Namespaced" if resource.namespaced else "Cluster",
            "versions": [version],
        },
    }


def object_schema(resource: CustomResource) -> dict[str, Any]:
    """The structural schema of a whole object: metadata is the API server's own matter."""
    spec = structural_schema(resource.spec, defaults=resource.defaults)
    spec["description"] = resource.spec_description
    if resource.defaults and not resource.spec_required:
        spec["default"] = {}
    status = structural_schema(resource.status, defaults=False)
    status["description"] = resource.status_description
    if "observedGeneration" in status["properties"]:
        status["default"] = {**NOT_OBSERVED, **resource.first_status}
    schema: dict[str, Any] = {
        "description": resource.description,
        "type": "object",
        "properties": {
            "apiVersion": {"type": "string", "description": f"Always {GROUP}/{VERSION}."},
            "kind": {"type": "string", "description": f"Always {resource.kind}."},
            "metadata": {"type": "object"},
            "spec": spec,
            "status": status,
        },
    }
    if resource.spec_required:
        schema["required"] = ["spec"]
    return ordered(schema)


def _column(column: Column) -> dict[str, Any]:
    document: dict[str, Any] = {
        "name": column.name,
        "type": column.type,
        "description": column.description,
        "jsonPath": column.json_path,
    }
    if column.priority:
        document["priority"] = column.priority
    return document


def generated_files() -> Mapping[Path, str]:
    """Every file that is made from the models, by its path in the repository."""
    files = {
        Path("crds", f"{resource.plural}.yaml"): _yaml(custom_resource_definition(resource))
        for resource in RESOURCES
    }
    files[Path("manifests", "policy.yaml")] = _yaml(*policy_documents())
    schemas = {resource.kind: object_schema(resource) for resource in RESOURCES}
    for name, text in reference_pages(RESOURCES, schemas).items():
        files[Path("docs", "reference", name)] = text
    return files


_WIDTH = 100


class _Dumper(yaml.SafeDumper):
    """YAML for people: long texts in blocks without quotes, indented lists, nothing an alias."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002
        super().increase_indent(flow, indentless=False)

    def ignore_aliases(self, _data: Any) -> bool:
        return True


def _represent_text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else ">" if len(text) > _WIDTH * 2 / 3 and " " in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _represent_text)


def _yaml(*documents: Mapping[str, Any]) -> str:
    return _HEADER + yaml.dump_all(
        documents, Dumper=_Dumper, sort_keys=False, width=_WIDTH, allow_unicode=True
    )


_WRITTEN_BY_HAND = {"kustomization.yaml", "metrics.md"}
"""What stands beside the generated files; metrics.md is held to the code by a test of its own."""


def differences(root: Path) -> list[str]:
    """What is not as the models say, as sentences."""
    found = []
    files = generated_files()
    for path, text in files.items():
        file = root / path
        if not file.is_file():
            found.append(f"{path} is missing")
        elif file.read_text(encoding="utf-8") != text:
            found.append(f"{path} is not what the models say")
    for folder, pattern in (("crds", "*.yaml"), ("docs/reference", "*.md")):
        found.extend(
            f"{folder}/{file.name} is made from no model"
            for file in sorted((root / folder).glob(pattern))
            if Path(folder, file.name) not in files and file.name not in _WRITTEN_BY_HAND
        )
    return found


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(prog="python -m spawnai.api.crds", description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    parser.add_argument(
        "--root",
        type=Path,
        default=Path(__file__).resolve().parents[3],
        help="the repository (default: the one this module is in)",
    )
    options = parser.parse_args(arguments)
    if not (options.root / "pyproject.toml").is_file():
        parser.error(f"{options.root} is no checkout of the repository: name one with --root")
    if options.check:
        found = differences(options.root)
        for sentence in found:
            sys.stderr.write(f"{sentence}\n")
        if found:
            sys.stderr.write("Run `make generate` and commit what it changes.\n")
        return 1 if found else 0
    for path, text in generated_files().items():
        file = options.root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if not file.is_file() or file.read_text(encoding="utf-8") != text:
            file.write_text(text, encoding="utf-8")
            sys.stdout.write(f"wrote {path}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
