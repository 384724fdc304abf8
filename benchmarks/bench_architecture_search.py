"""Whole architecture searches on the digits: what they take, and what they find.

python benchmarks/bench_architecture_search.py [TARGET...] [--seeds N]
"""

from __future__ import annotations

import argparse
import sys
import time

from tetrapla.architecture.run import BUDGET, EPOCHS, searched
from tetrapla.architecture.search import Plan
from tetrapla.settings import Settings

BUDGET_S = 600.0  # of one core, for a search of the command's own budget


def main() -> None:
    """Print figures by target and seed, and fail over the budget."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("targets", nargs="*", default=["loihi", "isaac"])
    parser.add_argument("--seeds", type=int, default=2)
    asked = parser.parse_args()
    slow = False
    for target in asked.targets:
        for seed in range(asked.seeds):
            start = time.process_time()
            found = searched("digits", target, "energy", Plan(BUDGET, EPOCHS, seed), Settings())
            spent_s = time.process_time() - start
            slow |= spent_s > BUDGET_S
            name = f"architecture_search_{target}_{seed}"
            print(f"{name}_s {spent_s:.1f}")
            print(f"{name}_winner_uj {found.winner.cost / 1e6:.2f}")
            print(f"{name}_baseline_uj {found.baseline.cost / 1e6:.2f}")
            print(f"{name}_winner_accuracy_pct {100 * found.winner.accuracy:.2f}")
            print(f"{name}_baseline_accuracy_pct {100 * found.baseline.accuracy:.2f}")
            print(f"{name}_dominates_bool {found.dominates:d}")
    if slow:
        sys.exit(f"over the budget of {BUDGET_S:g} s")


if __name__ == "__main__":
    main()
