"""Wired crossbars: effective matrices, ladders and Newton's method, beside CrossSim's solver.

``OMP_NUM_THREADS=1 python benchmarks/bench_analog_circuits.py``

Arrays are random, wires 1e-4 of the lowest device resistance a segment, inputs uniform from 0
to 1, or random bits. Times are process CPU seconds, the best of several. An IR-drop MVM is that
of a pair of arrays: the first batch pays for their effective matrices, later ones find them
kept. CrossSim 3.2 (github.com/sandialabs/cross-sim, BSD-3-Clause, `import simulator`) runs
where it is installed, at its own defaults: iterations until voltages move by less than 1e-3 of
the input. Its outputs are compared with ours before a time counts.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from time import process_time
from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.cells import Polynomial, Sinh
from tetrapla.simulators.analog.circuits.effective import effective, solve
from tetrapla.simulators.analog.circuits.ladder import gated
from tetrapla.simulators.analog.circuits.newton import nonlinear
from tetrapla.simulators.analog.circuits.precompensation import precompensated
from tetrapla.simulators.analog.circuits.read_noise import deviations, variances
from tetrapla.simulators.analog.circuits.wires import Wires

SIZE, BATCH = 128, 1024
LOWEST_OHM, WIRE_OHM = 1e4, 1.0
WIRES = Wires(WIRE_OHM, WIRE_OHM)
# of outputs, in the 2-norm: an iteration that stops at 1e-3 of the input's volts was seen to
# be off by 2e-4 to 3e-3
CLOSE = 1e-2


def best_s(run: Callable[[], object], rounds: int) -> float:
    """CPU seconds of the fastest of some runs."""
    times = []
    for _ in range(rounds):
        start = process_time()
        run()
        times.append(process_time() - start)
    return min(times)


def cells(rng: np.random.Generator, size: int) -> Array:
    """Siemens, up to the lowest device resistance's."""
    drawn: Array = rng.uniform(1e-2, 1, (size, size)) / LOWEST_OHM
    return drawn


def ours(rng: np.random.Generator) -> None:
    for size, rounds in ((64, 20), (128, 10), (256, 3)):
        g = cells(rng, size)
        print(f"effective_{size}_s {best_s(partial(solve, g, WIRES), rounds):.4f}")
    g, minus = cells(rng, SIZE), cells(rng, SIZE)
    print(f"effective_interleaved_{SIZE}_s {best_s(lambda: solve(g, WIRES, minus), 5):.4f}")
    bits = rng.random((BATCH, SIZE)) < 0.5
    for name, second in (("gated", None), ("gated_interleaved", minus)):
        time_s = best_s(partial(gated, g, bits, 0.2, WIRES, second), 3)
        print(f"ladder_{name}_{SIZE}_mvm_s {BATCH / time_s:.0f}")
    volts = 0.3 * rng.random((64, SIZE))
    for law in (Sinh(4.0), Polynomial(0.3, 0.8)):
        time_s = best_s(partial(nonlinear, g, volts, WIRES, law), 2)
        print(f"newton_{type(law).__name__.lower()}_{SIZE}_mvm_s {len(volts) / time_s:.1f}")
    time_s = best_s(lambda: variances(g, 0.03 * g, WIRES), 5)
    print(f"read_noise_matrix_{SIZE}_s {time_s:.4f}")
    time_s = best_s(lambda: deviations(g, 0.03 * g, volts, WIRES), 2)
    print(f"read_noise_adjoint_{SIZE}_mvm_s {len(volts) / time_s:.1f}")
    time_s = best_s(lambda: precompensated(np.stack((g, minus)), WIRES, 1 / LOWEST_OHM), 1)
    print(f"precompensation_pair_{SIZE}_s {time_s:.3f}")


def ir_drop(pair: Array, inputs: Array, matrix_of: Callable[..., Array]) -> Array:
    """Products of a pair of arrays with a batch, siemens times the inputs."""
    return np.asarray(inputs @ (matrix_of(pair[0], WIRES) - matrix_of(pair[1], WIRES)))


def crosssim(weights: Array, *, gate: bool) -> Any:
    """CrossSim's core with the same wires; weights [rows, columns] within -1 to 1."""
    peer = import_module("simulator")
    params = peer.CrossSimParameters()
    params.core.style = "BALANCED"
    params.core.rows_max = params.core.cols_max = SIZE
    params.core.mapping.weights.percentile = None
    params.core.mapping.weights.min, params.core.mapping.weights.max = -1.0, 1.0
    params.xbar.device.Rmin = LOWEST_OHM
    params.xbar.device.infinite_on_off_ratio = True
    parasitics = params.xbar.array.parasitics
    parasitics.enable = True
    parasitics.Rp_row = parasitics.Rp_col = WIRE_OHM
    if gate:
        parasitics.current_from_input = False
        params.xbar.dac.mvm.input_bitslicing = True
        params.xbar.dac.mvm.slice_size = 1
        params.xbar.dac.mvm.bits = 1
        params.xbar.dac.mvm.model = "QuantizerDAC"
        params.xbar.dac.mvm.signed = False
        params.core.mapping.inputs.mvm.min = 0.0
        params.core.mapping.inputs.mvm.max = 1.0
    return peer.AnalogCore(weights.T, params)


def beside(name: str, mine_s: float, wanted: Array, peer: Callable[[], Array]) -> float:
    """CrossSim's CPU seconds for the same batch, if its outputs are ours."""
    start = process_time()
    found = np.asarray(peer(), np.float64).T
    peer_s = process_time() - start
    off = float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
    print(f"crosssim_{name}_mvm_s {len(wanted) / peer_s:.1f}")
    print(f"crosssim_{name}_difference_frac {off:.1e}")
    if off > CLOSE:
        raise SystemExit(f"CrossSim's outputs differ from ours by {off:.1e}: not compared")
    print(f"ratio_{name} {peer_s / mine_s:.0f}")
    return peer_s


def main() -> None:
    rng = np.random.default_rng(0)
    ours(rng)
    weights = np.clip(rng.standard_normal((SIZE, SIZE)) / 3, -1, 1)
    pair = np.stack((np.maximum(weights, 0), np.maximum(-weights, 0))) / LOWEST_OHM
    inputs = rng.random((BATCH, SIZE))
    cold_s = best_s(lambda: ir_drop(pair, inputs, solve), 3)
    wanted = ir_drop(pair, inputs, effective)
    cached_s = best_s(lambda: ir_drop(pair, inputs, effective), 10)
    print(f"ir_drop_first_batch_{SIZE}_mvm_s {BATCH / cold_s:.0f}")
    print(f"ir_drop_cached_{SIZE}_mvm_s {BATCH / cached_s:.0f}")
    bits = (rng.random((BATCH, SIZE)) < 0.5).astype(float)

    def ladders() -> Array:
        plus, minus = (gated(g, bits, 1.0, WIRES).currents for g in pair)
        return plus - minus

    ladder_s = best_s(ladders, 2)
    print(f"ladder_pair_{SIZE}_mvm_s {BATCH / ladder_s:.0f}")
    if find_spec("simulator") is None:
        print("CrossSim is not installed: no ratios")
        return
    core = crosssim(weights, gate=False)
    peer_s = beside("ir_drop_first_batch", cold_s, wanted * LOWEST_OHM, lambda: core @ inputs.T)
    print(f"ratio_ir_drop_cached {peer_s / cached_s:.0f}")
    core = crosssim(weights, gate=True)
    beside("gated", ladder_s, ladders() * LOWEST_OHM, lambda: core @ bits.T)


if __name__ == "__main__":
    main()
