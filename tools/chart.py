"""Write the chart's values.schema.json, the table in its README and its versions, or check them.

`python tools/chart.py` writes; `--check` writes nothing and fails when a file differs. The comments
in values.yaml are the source of the schema and the table; the version is that of pyproject.toml.
"""

import argparse
import json
import re
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
CHART = Path("helm", "spawnai")
_TABLE = re.compile(
    r"(<!-- values: made by `make generate` -->\n).*(<!-- end of values -->)", re.DOTALL
)
_MARK = "@schema "
_WITH_IMAGES = (
    Path("manifests", "deployment.yaml"),
    Path("manifests", "console", "console.yaml"),
    Path("manifests", "gateway", "gateway.yaml"),
    Path("manifests", "inspector", "inspector.yaml"),
    Path("manifests", "settings", "export.yaml"),
)
_TYPES = {
    "tag:yaml.org,2002:str": "string",
    "tag:yaml.org,2002:int": "integer",
    "tag:yaml.org,2002:bool": "boolean",
    "tag:yaml.org,2002:seq": "array",
    "tag:yaml.org,2002:map": "object",
}


class ChartError(Exception):
    """A file of the chart cannot be read as this program expects it."""


@dataclass(frozen=True, slots=True)
class Value:
    """One setting of values.yaml, with what its comment says."""

    path: tuple[str, ...]
    node: yaml.Node
    description: str
    schema: Mapping[str, Any]

    @property
    def is_group(self) -> bool:
        """Whether it only groups others: a map whose names are not the user's own choice."""
        is_map = isinstance(self.node, yaml.MappingNode) and bool(self.node.value)
        return is_map and not isinstance(self.schema.get("additionalProperties"), dict)


def values_in(text: str) -> list[Value]:
    """Every setting of a values.yaml, in the order of the file."""
    return list(_values(yaml.compose(text), text.splitlines(), ()))


def _values(node: yaml.Node, lines: list[str], path: tuple[str, ...]) -> Iterator[Value]:
    if not isinstance(node, yaml.MappingNode):
        return
    for key, value in node.value:
        description, schema = _comment_above(lines, key.start_mark.line)
        here = (*path, str(key.value))
        found = Value(here, value, description, schema)
        yield found
        if found.is_group:
            yield from _values(value, lines, here)


def _comment_above(lines: list[str], line: int) -> tuple[str, dict[str, Any]]:
    texts: list[str] = []
    while line > 0 and (text := lines[line - 1].strip()).startswith("#"):
        texts.insert(0, text.removeprefix("#").strip())
        line -= 1
    words = [text for text in texts if not text.startswith(_MARK)]
    marks = [text.removeprefix(_MARK) for text in texts if text.startswith(_MARK)]
    return " ".join(words), {k: v for mark in marks for k, v in yaml.safe_load(mark).items()}


def schema_of(values: list[Value]) -> dict[str, Any]:
    """The JSON schema: a name that values.yaml does not have is refused."""
    root: dict[str, Any] = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Values of the chart spawnai",
        "type": "object",
        "additionalProperties": False,
        "properties": {},
    }
    schemas: dict[tuple[str, ...], dict[str, Any]] = {(): root}
    for value in values:
        type_ = _TYPES.get(value.node.tag)
        if type_ is None:
            raise ChartError(f"values.yaml: {'.'.join(value.path)} has no value: give it a default")
        schema: dict[str, Any] = {"type": type_}
        if value.description:
            schema["description"] = value.description
        if value.is_group:
            schema |= {"additionalProperties": False, "properties": {}}
        elif type_ == "object":
            schema["additionalProperties"] = {"type": "string"}
        schemas[value.path] = schema | value.schema
        parent = schemas[value.path[:-1]]
        parent.setdefault("properties", {})[value.path[-1]] = schemas[value.path]
    return root


def table_of(values: list[Value]) -> str:
    """The table of a README: every setting that is no group."""
    rows = ["| Value | Default | What it does |", "|---|---|---|"]
    for value in values:
        if value.is_group:
            continue
        default = json.dumps(_plain(value.node))
        description = value.description.replace("|", "\\|")
        rows.append(f"| `{'.'.join(value.path)}` | `{default}` | {description} |")
    return "\n".join(rows) + "\n"


def _plain(node: yaml.Node) -> Any:
    return yaml.safe_load(yaml.serialize(node))


def generated_files(root: Path) -> dict[Path, str]:
    """Every file that this program writes, by its path in the repository."""
    version = tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"]
    values = values_in((root / CHART / "values.yaml").read_text())
    undocumented = [".".join(v.path) for v in values if not v.is_group and not v.description]
    if undocumented:
        raise ChartError(f"values.yaml: write a comment above {', '.join(undocumented)}")
    readme, count = _TABLE.subn(
        lambda match: match[1] + table_of(values) + match[2],
        (root / CHART / "README.md").read_text(),
    )
    if count != 1:
        raise ChartError(f"{CHART}/README.md has no place for the values")
    return {
        CHART / "values.schema.json": json.dumps(schema_of(values), indent=2) + "\n",
        CHART / "README.md": readme,
        CHART / "Chart.yaml": re.sub(
            r"(?m)^(version|appVersion): .*$",
            rf"\g<1>: {version}",
            (root / CHART / "Chart.yaml").read_text(),
        ),
        Path("operator", "spawnai", "__init__.py"): re.sub(
            r'(?m)^__version__ = ".*"$',
            f'__version__ = "{version}"',
            (root / "operator" / "spawnai" / "__init__.py").read_text(),
        ),
        **{
            path: re.sub(
                r"image: (spawnai-operator|spawnai-inspector):\S+",
                rf"image: \g<1>:{version}",
                (root / path).read_text(),
            )
            for path in _WITH_IMAGES
        },
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; returns its exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail on a difference")
    options = parser.parse_args(arguments)
    differences = 0
    for path, text in generated_files(ROOT).items():
        file = ROOT / path
        if file.is_file() and file.read_text() == text:
            continue
        differences += 1
        if options.check:
            sys.stderr.write(f"{path} is not what `make generate` writes\n")
        else:
            file.write_text(text)
            sys.stdout.write(f"wrote {path}\n")
    return 1 if options.check and differences else 0


if __name__ == "__main__":
    sys.exit(main())
