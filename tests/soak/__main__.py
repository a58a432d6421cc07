"""`python -m tests.soak --minutes 30`: prints every fault as it was made, and the audit; exit code 1 with findings."""

from __future__ import annotations

import argparse
import sys
import time

from tests.soak.soak import soak


def main() -> None:
    """Run a soak and print what it came to."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    asked = parser.parse_args()
    print(f"{asked.minutes:g} minutes of faults, seed {asked.seed}", flush=True)
    outcome = soak(asked.minutes, asked.seed)
    print(*outcome.log, sep="\n")
    print(f"{outcome.runs} runs, {outcome.pictures} pictures; faults:")
    for kind, count in sorted(outcome.faults.items()):
        print(f"  {count:6} {kind}")
    print("audit:", *(outcome.findings or ["every picture has one result and one receipt, and they agree"]), sep="\n  ")
    sys.exit(1 if outcome.findings else 0)


if __name__ == "__main__":
    main()
