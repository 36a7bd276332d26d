"""The operator's metrics as Prometheus reads them, and as the reference describes them."""

import re
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

REFERENCE = Path(__file__).parents[3] / "docs" / "reference" / "metrics.md"


class Scrape:
    """One answer of /metrics."""

    def __init__(self, text: str) -> None:
        families = re.findall(r"^# TYPE (spawnai_\w+) ", text, re.MULTILINE)
        # When a series began is told beside each counter and histogram, by the library itself.
        self.names = {name for name in families if not name.endswith("_created")}
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    def value(self, name: str, **labels: str) -> float:
        """The sum of all samples of that name that have these labels; 0 without any."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    def grown(self, before: "Scrape", name: str, **labels: str) -> float:
        """By how much it is more than it was."""
        return self.value(name, **labels) - before.value(name, **labels)

    def mean(self, before: "Scrape", name: str) -> float:
        """The mean of all that a histogram has seen since; 0 when it has seen nothing."""
        count = self.grown(before, f"{name}_count")
        return self.grown(before, f"{name}_sum") / count if count else 0.0


def documented_names() -> set[str]:
    """The metrics that the reference lists."""
    return set(re.findall(r"^\| `(spawnai_\w+)` \|", REFERENCE.read_text(), re.MULTILINE))
