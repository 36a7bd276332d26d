"""Describes a set of measurements (invented, always the same) and writes statistics.csv."""

import csv
import random
import statistics
import sys
from pathlib import Path

SEED = 42
COUNT = 200


def main() -> None:
    """Print a description with a histogram and write the table."""
    chance = random.Random(SEED)  # noqa: S311 (invented data, not a secret)
    values = sorted(round(chance.gauss(100, 15), 1) for _ in range(COUNT))
    lower, middle, upper = statistics.quantiles(values, n=4)
    described = {
        "count": len(values),
        "mean": round(statistics.mean(values), 2),
        "median": round(middle, 2),
        "standard deviation": round(statistics.stdev(values), 2),
        "lower quartile": round(lower, 2),
        "upper quartile": round(upper, 2),
        "smallest": values[0],
        "largest": values[-1],
    }
    with Path("statistics.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["figure", "value"])
        table.writerows(described.items())
    lines = [f"Statistics of {COUNT} measurements (invented data)", ""]
    lines += [f"{name:<20}{value:>10}" for name, value in described.items()]
    lines += ["", "Histogram"]
    for start in range(50, 150, 10):
        count = sum(start <= value < start + 10 for value in values)
        lines.append(f"{start:>4} – {start + 9:<4}{count:>4}  {'█' * count}")
    lines += [
        "",
        f"Half of all values lie between {lower:.1f} and {upper:.1f}; see statistics.csv.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
