"""The largest rates of matrix products that others reached on GPUs, and what they draw there.

Where a point has no shape, it is the best of many: ours is then the best of products from 1,024
to 16,384 a side. The chips' constants were fitted to typical products, not to the best.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tetrapla.backends.target_ import find
from tetrapla.simulators.gpu.product_time import Floats, dense, product_times
from tetrapla.simulators.gpu.spec import ACTIONS, ELEMENT_BYTES, GpuSpec
from tetrapla.simulators.gpu.time import KernelTime, capped
from tetrapla.simulators.price_ import price
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

RATE_BOUND = 0.12
_SIDES = 1024 * np.arange(1.0, 17.0)
_SOURCES = {
    "ml-engineering": "S. Bekman, ml-engineering (CC-BY-SA 4.0), compute/accelerator: the most "
    "that any shape reached",
    "spot": "one H200, 2026, random operands: 769 to 798",
}
_FITTED = {
    "mi300x": "in-sample: the efficiency of its prior is this rate's, less what others lose",
}
_PRIOR = "the chip's constants; not in the fit"


def rows(path: Path) -> Iterator[Row]:
    """A rate for each chip and format, their mean error, and the power at it.

    Raises:
        ModelError: the table is missing or broken.
    """
    errors: list[float] = []
    for where, row in read(path):
        rate, power = _rows(row, where)
        yield rate
        if power is not None:
            yield power
        if (row.get("gpu") or "") not in _FITTED:
            errors.append(abs(rate.rel_error or 0.0))
    if not errors:
        return
    mean = 1 + float(np.mean(errors))
    said = f"1 + mean absolute error of {len(errors)} points: {_SOURCES['ml-engineering']}"
    yield Row(
        "gpu", "mean", "product_rate_error", "1", 1.0, mean, RATE_BOUND, f"{said}; {_PRIOR}"
    )


def _rows(row: Cells, where: str) -> tuple[Row, Row | None]:
    gpu, number_format = row.get("gpu") or "", row.get("format") or ""
    published = number(row, "tflops", where)
    spec: object = find(gpu)[1].spec
    assert isinstance(spec, GpuSpec), where
    sides = [np.array([float(whole(row, name, where))]) for name in "mnk" if row.get(name)]
    grid = np.meshgrid(_SIDES, _SIDES, _SIDES)
    m, n, k = sides if sides else (axis.ravel() for axis in grid)
    rate, watts = _best(m, n, k, spec, number_format)
    case = f"{number_format} {' x '.join(str(int(side.item())) for side in sides) or 'best'}"
    said = f"{_SOURCES.get(row.get('source') or '', where)}; {_FITTED.get(gpu, _PRIOR)}"
    first = Row("gpu", case, f"{gpu}_product_rate", "TFLOP/s", published, rate, None, said)
    if not row.get("watts"):
        return first, None
    limit = f"{said}; published is the power limit, which bounds it; ours is uncalibrated"
    known = number(row, "watts", where)
    return first, Row("gpu", case, f"{gpu}_product_power", "W", known, watts, None, limit)


def _best(
    m: Floats, n: Floats, k: Floats, spec: GpuSpec, number_format: str
) -> tuple[float, float | None]:
    """The largest rate in TFLOP/s, at the clock that the power limit leaves, and the power."""
    shapes = dense(m, n, k, ELEMENT_BYTES[number_format])
    times = product_times(shapes, spec, number_format)
    at = int(np.argmax(shapes.operations / times.time_s))
    operations = float(shapes.operations[at])
    read_bytes = float(times.dram_bytes[at] - shapes.result_bytes[at])
    actions = {
        ACTIONS[number_format]: operations,
        "dram.read_byte": read_bytes,
        "dram.write_byte": float(shapes.result_bytes[at]),
        "l2.byte": float(times.l2_bytes[at]),
    }
    dynamic_pj = price(actions, spec.prices).total_pj
    full = KernelTime(float(times.time_s[at]), "", float(times.dram_bytes[at]), 0.0)
    time_s = capped(full, dynamic_pj, spec).time_s
    idle_w, watts = spec.chip.static_power_w, None
    if dynamic_pj is not None and idle_w is not None:
        watts = dynamic_pj * 1e-12 / time_s + idle_w
    return 1e-12 * operations / time_s, watts
