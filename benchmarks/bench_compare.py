"""What a comparison takes: the demo and eight chips, pages included, on all cores."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from resource import RUSAGE_CHILDREN, getrusage
from tempfile import TemporaryDirectory
from time import perf_counter

CNN = Path(__file__).resolve().parent.parent / "examples" / "digits_cnn.onnx"
CHIPS = "tpu-v1,edge-tpu,h100,a100,loihi,truenorth,isaac,mythic-m1076"
# the budgets of wall-clock time on two cores that do nothing else
DEMO_BUDGET_S, COMPARE_BUDGET_S = 20.0, 30.0


def _spent(words: Sequence[str], page: Path) -> tuple[float, float]:
    """Seconds on the clock, and CPU seconds (user and system) of all its processes."""
    before, begun = getrusage(RUSAGE_CHILDREN), perf_counter()
    command = [sys.executable, "-m", "tetrapla", *words, "--report", str(page)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after, wall_s = getrusage(RUSAGE_CHILDREN), perf_counter() - begun
    cpu_s = after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime
    return wall_s, cpu_s


def main() -> None:
    """Print every figure, and fail where a budget is broken though the machine was free."""
    compare = ["compare", str(CNN), "--data", "digits", "--targets", CHIPS]
    cases = {
        "demo": (["demo"], DEMO_BUDGET_S),
        "compare_8_chips": (compare, COMPARE_BUDGET_S),
        "compare_8_chips_serial": ([*compare, "--executor", "serial"], 2 * COMPARE_BUDGET_S),
    }
    broken = []
    with TemporaryDirectory() as folder:
        for name, (words, budget_s) in cases.items():
            page = Path(folder) / f"{name}.html"
            wall_s, cpu_s = _spent(words, page)
            print(f"{name}_wall_s {wall_s:.2f}")
            print(f"{name}_cpu_s {cpu_s:.2f}")
            print(f"{name}_page_bytes {page.stat().st_size}")
            # on a busy machine the clock says nothing: two cores cannot do more than this
            if min(wall_s, cpu_s) > budget_s:
                broken.append(name)
    print(f"load_of_the_machine {os.getloadavg()[0]:.1f}")
    if broken:
        sys.exit(f"over the budget: {', '.join(broken)}")


if __name__ == "__main__":
    main()
