"""What a search costs beside its points: drawing and telling a trial, kept in a file."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

from tetrapla.sweeps.search import BATCH, Study

TRIALS = 240
BUDGET_MS = 20.0
AXES = {
    "array.rows": [str(1 << n) for n in range(3, 10)],
    "array.cols": [str(1 << n) for n in range(3, 10)],
    "clock": [f"{n}00MHz" for n in range(1, 17)],
    "quant": ["int8", "int4", "int16"],
}


def main() -> None:
    """Print milliseconds of CPU time for a trial, and fail over the budget."""
    with tempfile.TemporaryDirectory() as folder:
        study = Study(AXES, ("latency", "energy"), 0, Path(folder, "study.db"))
        start = time.process_time()
        for first in range(0, TRIALS, BATCH):
            drawn = study.drawn(first, BATCH)
            # any numbers will do: a search does not look behind them
            told = [[float(int(p["array.rows"])), 1.0 / int(p["array.cols"])] for p in drawn]
            study.told(first, drawn, told)
        spent_ms = (time.process_time() - start) / TRIALS * 1e3
    print(f"search_trial_ms {spent_ms:.2f}")
    if spent_ms > BUDGET_MS:
        sys.exit(f"over the budget of {BUDGET_MS:g} ms")


if __name__ == "__main__":
    main()
