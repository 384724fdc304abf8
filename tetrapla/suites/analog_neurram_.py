"""NeuRRAM's measured configurations beside the chip `neurram`: throughput and efficiency.

[paper]: W. Wan et al., Nature 608, 2022, figure 12, as CiMLoop's and AccelForge's tests carry
it. A core multiplies 256 inputs with 128 outputs, 48 cores at once. An input of n bits has
n - 1 bits of magnitude, at least one. In one phase bit k is applied for 2^k integrations and
the sum is converted at all output bits; in two phases, from 4 bits of magnitude on, the upper
half goes first, and the second conversion leaves out as many bits as the first phase brought.
The counts of integrations, steps of conversions, phases and bits make time and energy:

    t = integrations t_i + steps t_s + phases t_p,    E = steps E_s + magnitude bits E_b

Three times and two energies are fitted to the ten rows, so all of them are in-sample.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tetrapla.backends.target_ import find
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

TABLE: Final = Path("analog", "neurram.csv")
OPS: Final = 2 * 256 * 128  # of a core's product
_CORES: Final = 48
_MOST_ONE_PHASE_BITS: Final = 3  # of magnitude
_INTEGRATE_S: Final = 0.3030e-6  # the chip's read is 15 of them and what a phase begins with
_READ_INTEGRATIONS: Final = 15
_BOUNDS: Final = {2: 0.08, 1: 0.10}  # AccelForge: up to 8 % in two phases, 12 % in one
_SOURCE: Final = "Wan et al., Nature 608, 2022, figure 12; five constants are fitted, in-sample"
_PARTS: Final = "Wan et al., Nature 608, 2022, figure 12 b; the split over units is not fitted"


@dataclass(frozen=True)
class Work:
    """What one product takes."""

    integrations: int
    steps: int
    phases: int
    bits: int


def work(out_bits: int, in_bits: int, phases: int) -> Work:
    """Of a product with outputs and inputs of so many bits, in at most `phases` phases."""
    bits = max(1, in_bits - 1)
    parts = [bits]
    if phases == 2 and bits > _MOST_ONE_PHASE_BITS:
        parts = [bits - bits // 2, bits // 2]
    done, steps = 0, 0
    for part in parts:
        steps += max(0, out_bits - done)
        done += part
    return Work(sum((1 << part) - 1 for part in parts), steps, len(parts), bits)


def time_s(spec: AnalogSpec, done: Work) -> float:
    """Seconds of one product on every core."""
    step_s = spec.converter.step_s or 0.0
    phase_s = spec.array.read_s - _READ_INTEGRATIONS * _INTEGRATE_S
    return done.integrations * _INTEGRATE_S + done.steps * step_s + done.phases * phase_s


def energies_pj(spec: AnalogSpec, done: Work) -> dict[str, float]:
    """Picojoules of a core's product: word lines, neurons, inputs."""
    price = {name: pj or 0.0 for name, pj in spec.prices.items()}
    bit = 1 / spec.dac.bits
    steps = done.steps * spec.adc.per_array * price["adc.convert"] / spec.adc.bits
    return {
        "word_line": done.bits * bit * price["crossbar.read"],
        "neuron": steps + done.bits * bit * price["sample_hold.read"],
        "input": done.bits * bit * spec.array.rows * price["dac.convert"],
    }


def rows(golden: Path) -> Iterator[Row]:
    """Of every configuration TOPS and TOPS/W, and of the split of its energy what is known."""
    spec: Any = find("neurram")[1].spec
    assert isinstance(spec, AnalogSpec)  # of this catalogue's chip
    for where, row in read(golden / TABLE):
        yield from _configuration(spec, row, where)
    yield from _areas(spec)


def _areas(spec: AnalogSpec) -> Iterator[Row]:
    """Of a core: the published shares of 1270 x 256 / 0.28 um2 beside parts of others."""
    core_mm2, a = 1270 * 256 / 0.28 * 1e-6, spec.array
    # shift-add, ADC, sample-and-hold and integrator of a neuron, um2
    neurons_mm2 = a.cols * (170 + 400 + 45 + 350) * 1e-6
    # a cell of 125.74 squares of 130 nm
    cells_mm2 = a.rows * a.cols * 125.73964497 * 0.13**2 * 1e-6
    for part, share, ours, whose in (
        ("neurons", 0.28, neurons_mm2, "HWComponents"),
        ("cells", 0.12, cells_mm2, "AccelForge"),
    ):
        source = f"Wan et al., Nature 608, 2022, figure 11; ours is {whose}'s parts"
        published = share * core_mm2
        yield Row("analog", "neurram", f"{part}_area", "mm2", published, ours, None, source)


def _configuration(spec: AnalogSpec, row: Cells, where: str) -> Iterator[Row]:
    outs, ins, phases = (whole(row, n, where) for n in ("out_bits", "in_bits", "phases"))
    done = work(outs, ins, phases)
    parts = energies_pj(spec, done)
    case = f"neurram {outs}-bit out, {ins}-bit in, {phases} phases at most"
    tops = _CORES * OPS / time_s(spec, done) * 1e-12
    bound = _BOUNDS.get(phases)
    efficiency = OPS / sum(parts.values())
    for name, unit, ours in (("tops", "TOPS", tops), ("tops_per_w", "TOPS/W", efficiency)):
        published = number(row, name, where)
        yield Row("analog", case, name, unit, published, ours, bound, _SOURCE)
    for name, pj in parts.items():
        if row.get(f"{name}_fj"):
            published = number(row, f"{name}_fj", where)
            ours = pj * 1e3 / OPS
            yield Row("analog", case, f"{name}_energy", "fJ/op", published, ours, None, _PARTS)
