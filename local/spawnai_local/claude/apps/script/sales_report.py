"""Makes a month of sales (invented, always the same), sums them up and writes report.csv."""

import csv
import random
import sys
from collections import defaultdict
from decimal import Decimal
from pathlib import Path

PRODUCTS = {"Notebook": "4.20", "Pencil": "0.90", "Backpack": "39.00", "Lamp": "24.50"}
REGIONS = ("North", "East", "South", "West")
SEED = 7


def invented_sales() -> list[tuple[int, str, str, int, Decimal]]:
    """Day, region, product, units and revenue of each sale."""
    chance = random.Random(SEED)  # noqa: S311 (invented data, not a secret)
    sales = []
    for day in range(1, 31):
        for region in REGIONS:
            product = chance.choice(sorted(PRODUCTS))
            units = chance.randint(1, 25)
            sales.append((day, region, product, units, units * Decimal(PRODUCTS[product])))
    return sales


def main() -> None:
    """Print the report and write the sales."""
    sales = invented_sales()
    with Path("report.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["day", "region", "product", "units", "revenue"])
        table.writerows(sales)
    by_region: dict[str, Decimal] = defaultdict(Decimal)
    by_product: dict[str, Decimal] = defaultdict(Decimal)
    for _, region, product, _, revenue in sales:
        by_region[region] += revenue
        by_product[product] += revenue
    total = sum(by_region.values(), Decimal(0))
    lines = ["Sales report (invented data, 30 days)"]
    for title, sums in (("Region", by_region), ("Product", by_product)):
        lines += ["", f"{title:<12}{'Revenue':>12}{'Share':>8}"]
        for name, revenue in sorted(sums.items(), key=lambda entry: -entry[1]):
            lines.append(f"{name:<12}{revenue:>12.2f}{revenue / total:>8.0%}")
    best = max(by_region, key=lambda region: by_region[region])
    lines += [
        "",
        f"{len(sales)} sales brought {total:.2f} in all; {best} was first. See report.csv.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
