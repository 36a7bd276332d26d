"""Numbers drawn in a terminal, and said in their unit."""

from collections.abc import Sequence

_BLOCKS = " ▁▂▃▄▅▆▇█"
_FULL = len(_BLOCKS) - 1


def shown(value: float, unit: str) -> str:
    """A value as Grafana would show it."""
    match unit:
        case "percentunit":
            return f"{value:.1%}"
        case "currencyUSD":
            return f"${value:.4f}"
        case "bytes":
            return f"{value / 2**20:.0f} MiB"
        case "s":
            return f"{value * 1000:.1f} ms" if value < 1 else f"{value:.1f} s"
        case "reqps" | "ops" | "wps":
            return f"{value:.2f}/s"
        case _:
            return f"{value:.0f}" if value == int(value) else f"{value:.2f}"


def chart(values: Sequence[float], *, height: int = 5, unit: str = "short") -> list[str]:
    """A column for each value, from zero to the largest, with the scale at the left."""
    largest = max(values, default=0.0) or 1.0
    levels = [round(value / largest * height * _FULL) for value in values]
    width = max(len(shown(largest, unit)), len(shown(0, unit)))
    rows = []
    for row in reversed(range(height)):
        label = shown(largest, unit) if row == height - 1 else shown(0, unit) if row == 0 else ""
        blocks = "".join(_BLOCKS[min(max(level - row * _FULL, 0), _FULL)] for level in levels)
        rows.append(f"{label:>{width}} ┤{blocks}")
    return rows
