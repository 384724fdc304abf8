"""What starting costs: CPU seconds of fresh processes, beside the bare interpreter's."""

from __future__ import annotations

import subprocess
import sys
from resource import RUSAGE_CHILDREN, getrusage

REPEATS = 5
# the budgets of the public contract, in CPU seconds
HELP_BUDGET_S, IMPORT_BUDGET_S = 0.5, 0.3
UNBOUNDED_S = float("inf")


def _cpu_s(*words: str) -> float:
    """The least CPU time, user and system, of a few runs: the others were disturbed."""
    found = []
    for _ in range(REPEATS):
        before = getrusage(RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = getrusage(RUSAGE_CHILDREN)
        found.append(after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)
    return min(found)


def main() -> None:
    """Print every figure, and fail where a budget is broken."""
    figures = {
        "python": (_cpu_s("-c", ""), UNBOUNDED_S),
        "import_tetrapla": (_cpu_s("-c", "import tetrapla"), IMPORT_BUDGET_S),
        "help": (_cpu_s("-m", "tetrapla", "--help"), HELP_BUDGET_S),
        "simulate_help": (_cpu_s("-m", "tetrapla", "simulate", "--help"), HELP_BUDGET_S),
    }
    for name, (spent_s, _) in figures.items():
        print(f"{name}_cpu_s {spent_s:.3f}")
    broken = [
        name for name, (spent_s, most_s) in figures.items() if most_s and spent_s > most_s
    ]
    if broken:
        sys.exit(f"over the budget: {', '.join(broken)}")


if __name__ == "__main__":
    main()
