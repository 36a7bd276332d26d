"""Finds the prime numbers below a limit and writes them to primes.csv."""

import csv
import sys
from itertools import pairwise
from pathlib import Path

LIMIT = 10_000


def primes_below(limit: int) -> list[int]:
    """The sieve of Eratosthenes."""
    is_prime = bytearray([1]) * limit
    is_prime[0:2] = b"\0\0"
    for number in range(2, int(limit**0.5) + 1):
        if is_prime[number]:
            multiples = range(number * number, limit, number)
            is_prime[number * number :: number] = bytes(len(multiples))
    return [number for number in range(limit) if is_prime[number]]


def main() -> None:
    """Print a summary and write the table."""
    primes = primes_below(LIMIT)
    gaps = [after - before for before, after in pairwise(primes)]
    twins = gaps.count(2)
    with Path("primes.csv").open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(["index", "prime", "gap to the next"])
        table.writerows(
            [index, prime, gaps[index - 1] if index <= len(gaps) else ""]
            for index, prime in enumerate(primes, start=1)
        )
    lines = [
        f"Prime numbers below {LIMIT:,}",
        "",
        f"{'Range':<16}{'Primes':>8}",
    ]
    step = LIMIT // 10
    for start in range(0, LIMIT, step):
        count = sum(start <= prime < start + step for prime in primes)
        lines.append(f"{start:>6} – {start + step - 1:<7}{count:>8}  {'█' * (count // 4)}")
    lines += [
        "",
        f"The largest is {primes[-1]:,}, the widest gap {max(gaps)}, with {twins} pairs of twins.",
        f"Found {len(primes):,} primes; all of them are in primes.csv.",
    ]
    sys.stdout.write("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
