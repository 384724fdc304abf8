"""Published powers and energies beside ours; every row informs, none is fitted or bounded.

What a published figure includes (idle power, DRAM, the host) is said in its row, and ours is
taken over the same parts. Where a source gives a figure but not the shape that it is of, ours
is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import fsum
from pathlib import Path
from typing import Any

import numpy as np

from tetrapla.backends.target_ import Options, find
from tetrapla.frontend.builder import Builder
from tetrapla.ir.module import Module
from tetrapla.models import load
from tetrapla.simulators.price_ import price, summed
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import Run
from tetrapla.simulators.systolic.formats import ELEMENT_BYTES
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.validation import Row

_SIZE = 4096  # of AccelForge's matrix product
_TPU1 = (
    "Jouppi et al., ISCA 2017, table 2: a busy server's die, of unstated work; ours is every"
)
_TPU4 = "cloud.google.com/tpu/docs/v4: mean of busy chips, 121 to 192; ours is every"
_TENTH = (
    "Jouppi et al., ISCA 2017, section 6: of CNN0's power at full load; ours is that of every "
    "PE multiplying, and a tenth of what is not idle power"
)
_FORGE = "AccelForge's tpu_v4i example, run: a 4096 x 4096 x 4096 product"
_GROQ = "D. Abts et al., ISCA 2020: ResNet-50 at batch 1; ours is a bound from above"
_EYERISS = (
    "Accelergy's Eyeriss-like example, read in its files: 59.3 uJ for 10.8 million MACs; ours "
    "is null: the layer's shape is not in its report"
)
_PE = "PE multiplying with its operands moving, and idle power"


def rows(golden: Path) -> Iterator[Row]:
    """The check points; they need no golden tables."""
    del golden
    for chip, number_format, watts, source in (
        ("tpu-v1", "int8", 40.0, _TPU1),
        ("tpu-v4", "int8", 170.0, _TPU4),
        ("tpu-v4", "bf16", 170.0, _TPU4),
    ):
        ours = busy_power_w(_systolic(chip), number_format)
        case = f"{chip} {number_format}"
        yield _row(case, "busy_power", "W", watts, ours, f"{source} {_PE}")
    yield _at_a_tenth()
    yield from _product()
    groq = _ran("groq-tsp", load("zoo:resnet50"))
    yield _row("groq-tsp resnet50", "inferences", "1/s", 20_400.0, 1 / groq.time_s, _GROQ)
    yield _row("eyeriss", "energy_per_mac", "pJ", 5.47, None, _EYERISS)


def busy_power_w(spec: SystolicSpec, number_format: str) -> float | None:
    """Every PE multiplies in each cycle, its operands move and its sums are accumulated.

    None where a price is unknown.
    """
    array = spec.array
    columns = array.cols * array.units
    counts = {
        f"mac.{number_format}": array.rows * columns,
        "unified_buffer.read_byte": array.rows * array.units * ELEMENT_BYTES[number_format],
        "accumulator.read_byte": 4 * columns,
        "accumulator.write_byte": 4 * columns,
        "accumulator.add": columns,
    }
    row, static_w = price(counts, spec.cost).total_pj, spec.chip.static_power_w
    if row is None or static_w is None:
        return None
    # a row of activations takes as many cycles as the format says
    return row / array.formats[number_format] * spec.clock_hz * 1e-12 + static_w


def _at_a_tenth() -> Row:
    """Power at a tenth of the load over that at full load."""
    spec = _systolic("tpu-v1")
    busy, idle_w = busy_power_w(spec, "int8"), spec.chip.static_power_w
    ours = None
    if busy is not None and idle_w is not None:
        ours = (idle_w + 0.1 * (busy - idle_w)) / busy
    return _row("tpu-v1 int8", "power_at_10_pct_load", "1", 0.88, ours, _TENTH)


def _product() -> Iterator[Row]:
    """AccelForge prices no idle power and no host, so neither is in ours."""
    run = _ran("tpu-v4i", _square(_SIZE))
    energy = _by_unit(run, _systolic("tpu-v4i").prices)
    parts = [pj for unit, pj in energy.items() if unit not in ("static", "host_link")]
    known = [pj for pj in parts if pj is not None]
    total = fsum(known) * 1e-9 if len(known) == len(parts) else None
    case = f"tpu-v4i matmul {_SIZE}"
    yield _row(case, "energy", "mJ", 14.2, total, f"{_FORGE}; no idle power, no host")
    array = sum(layer.cycles for layer in run.layers if layer.macs)
    spec = _systolic("tpu-v4i")
    yield _row(case, "time", "ms", 0.999, array / spec.clock_hz * 1e3, f"{_FORGE}; no host")


def _by_unit(run: Run, cost: Mapping[str, float | None]) -> Mapping[str, float | None]:
    actions = summed([*(layer.actions for layer in run.layers), run.actions])
    return price(actions, cost).by_unit


def _square(size: int) -> Module:
    """A product of two square matrices, without values."""
    b = Builder("matmul")
    weight = np.broadcast_to(np.float32(0), (size, size))
    b.output("y", b.matmul(b.input("x", (size, size)), weight))
    made = b.build()
    return Module(made.mlir, {}, made.name)


def _ran(chip: str, module: Module) -> Run:
    target, loaded = find(chip)
    lowered = target.lower(module, loaded.spec, None, Options())
    return target.run(lowered.program, loaded.spec, {}, Key(0))


def _systolic(chip: str) -> SystolicSpec:
    spec: Any = find(chip)[1].spec
    assert isinstance(spec, SystolicSpec)  # of this catalogue's chips
    return spec


def _row(
    case: str, quantity: str, unit: str, published: float, ours: float | None, source: str
) -> Row:
    return Row("energy", case, quantity, unit, published, ours, None, source)
