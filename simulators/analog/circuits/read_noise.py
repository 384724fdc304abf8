"""Read noise through wires: what independent errors of cells do to the outputs, to first order.

A cell's error dg changes output j by lambda_j v dg, with v the voltage across the cell under
the inputs and lambda_j the voltage across it while a source of 1 V is in series with the sense
end of bit line j alone. So

    var I_j = sum over cells (lambda_j v sigma)^2

exactly to first order (`deviations`), of which the cells of bit line j give nearly all. Without
wires lambda is 1 and v the input: var I_j = sum_i (sigma_ij x_i)^2, exact to all orders.

For many vectors `variances` brings it back to that form, one matrix product with squared
inputs. With E_k the part of v in cell (i, j) that input k gives, and inputs that have the
coherence c = mean(x)^2 / mean(x^2),

    mean v^2 / mean x^2 = (1 - c) sum_k E_k^2 + c (sum_k E_k)^2,

where sum_k E_k is the cell's voltage when all inputs are 1 V, and of the squares only the own
input's counts. E_i and lambda are taken from the cell's own two lines with everything beside
them grounded, so all costs a few passes over the cells. Against `deviations`, standard
deviations of 64x64 to 256x256 arrays are off by less than 1 % on average and by 6 % at worst,
even where wires lose half of the signal; where they lose a tenth, by 0.1 % and 1.3 % (random
cells; bits, uniform and normal inputs; measured).
"""

from __future__ import annotations

from typing import Final

import numpy as np

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.circuits.lines import eliminated
from tetrapla.simulators.analog.circuits.network import SIGNS, Network, drops
from tetrapla.simulators.analog.circuits.wires import Wires, checked, driven

_CLOSE: Final = 1e-3  # of 1 V: what `variances` may miss in cell voltages, below its error
_ROUNDS: Final = 200  # of conjugate gradients; assumed, stiff arrays take 40
_HELD: Final = 1 << 21  # cell voltages at once
RANDOM_BITS: Final = 0.5  # coherence of inputs that are 0 or 1 with equal chance


def deviations(
    g: Array,
    sigma: Array,
    volts: Array,
    wires: Wires,
    *,
    g_minus: Array | None = None,
    sigma_minus: Array | None = None,
    own_columns: bool = False,
) -> Array:
    """Standard deviations of the outputs, amperes [vectors, columns], by adjoint solutions.

    Args:
        g: cells of one array, siemens [rows, columns].
        sigma: standard deviation of each cell, siemens, of the shape of `g`.
        volts: inputs [vectors, rows].
        wires: of an `input_source` array, or with `g_minus` an `interleaved` one.
        g_minus: cells of the second polarity.
        sigma_minus: their standard deviations.
        own_columns: leave out cells of other bit lines.
    """
    cells, spread = checked(g, g_minus), checked(sigma, sigma_minus)
    inputs = driven(volts, cells.shape[-2])
    network = Network(cells, wires)
    series = network.sources(inputs)
    across = series - drops(network.currents(series), wires)
    across *= spread[..., None]
    across *= across
    variance = np.empty((len(inputs), cells.shape[-1]))
    step = max(1, _HELD // cells.size)
    for start in range(0, cells.shape[-1], step):
        some = np.arange(start, min(start + step, cells.shape[-1]))
        adjoint = _adjoint(network, some)
        adjoint *= adjoint
        if own_columns:
            own = adjoint[:, :, some, np.arange(len(some))]
            variance[:, some] = np.einsum("prj,prjb->bj", own, across[:, :, some])
        else:
            variance[:, some] = np.tensordot(across, adjoint, ((0, 1, 2), (0, 1, 2)))
    return np.asarray(np.sqrt(variance))


def _adjoint(network: Network, outputs: Array) -> Array:
    """Cell voltages [P, rows, columns, outputs] for 1 V in each of some bit lines."""
    series = np.zeros((*network.cells.shape[:3], len(outputs)))
    series[:, :, outputs, np.arange(len(outputs))] = 1
    return np.asarray(series - drops(network.currents(series), network.wires))


def cheap(effective: Array, relative: float, volts: Array) -> Array:
    """Standard deviations [vectors, columns] as if every entry of G_eff were a cell.

    Args:
        effective: siemens [rows, columns].
        relative: standard deviation of a cell over its conductance.
        volts: inputs [vectors, rows].

    Too large by what inputs take from each other: by 3 % on average where wires lose a tenth of
    the signal and inputs are random bits, by 7 % where they lose a quarter. See `variances`.
    """
    scaled = relative * effective
    return np.asarray(np.sqrt((volts * volts) @ (scaled * scaled)))


def variances(
    g: Array,
    sigma: Array,
    wires: Wires,
    *,
    g_minus: Array | None = None,
    sigma_minus: Array | None = None,
    coherence: float = RANDOM_BITS,
) -> Array:
    """Matrix W [..., rows, columns], siemens squared: var I = (volts * volts) @ W.

    Args:
        g: cells, siemens [..., rows, columns].
        sigma: standard deviation of each cell, siemens, of the shape of `g`.
        wires: of an `input_source` array, or with `g_minus` an `interleaved` one.
        g_minus: cells of the second polarity.
        sigma_minus: their standard deviations.
        coherence: mean(x)^2 / mean(x^2) of the inputs: 0 for signed ones around 0, the share of
            ones for bits, 1 where all are equal.

    Raises:
        SpecError: bad conductances or deviations, or a coherence outside 0 to 1.
    """
    if not 0 <= coherence <= 1:
        raise SpecError(
            f"coherence must be from 0 to 1, not {coherence}; it is mean(x)^2 / mean(x^2)"
        )
    cells, spread = checked(g, g_minus), checked(sigma, sigma_minus)
    if wires.ideal:
        return np.asarray((spread * spread).sum(axis=-3))
    own, adjoint = _alone(cells, wires)
    every = _together(cells, wires)
    square = (1 - coherence) * own * own + coherence * every * every
    return np.asarray((square * (adjoint * spread) ** 2).sum(axis=-3))


def _alone(cells: Array, wires: Wires) -> tuple[Array, Array]:
    """Of every cell, volts per volt of its own input, and of its own output's source."""
    row = eliminated(cells, wires)
    column = eliminated(
        np.swapaxes(cells.sum(axis=-3), -1, -2)[..., ::-1, ::-1], wires.mirrored
    )
    shares, own = (
        np.swapaxes(x, -1, -2)[..., None, ::-1, ::-1] for x in (column.volts, column.own)
    )
    return row.volts * (1 - cells * own), shares * row.kept


def _together(cells: Array, wires: Wires) -> Array:
    """Cell voltages [..., P, rows, columns] when every input is 1 V, to `_CLOSE`.

    (Z + 1/g) i = e for cell currents i, by conjugate gradients with g as preconditioner; array
    by array, so that none depends on the others.
    """
    found = np.empty(cells.shape)
    for array in np.ndindex(cells.shape[:-3]):
        found[array] = _voltages(cells[array][..., None], wires)[..., 0]
    return found


def _voltages(g: Array, wires: Wires) -> Array:
    """Of one array's cells, [P, rows, columns, 1]."""
    source = np.broadcast_to(SIGNS[: len(g), None, None, None], g.shape)
    ohms = np.divide(1, g, out=np.zeros_like(g), where=g > 0)
    current = g * source
    left = np.where(g > 0, -drops(current, wires), 0.0)
    search, before = np.zeros(g.shape), 1.0
    for _ in range(_ROUNDS):
        if np.abs(left).max() <= _CLOSE:
            break
        near = g * left
        norm = float((left * near).sum())
        search = near + norm / before * search
        image = np.where(g > 0, drops(search, wires), 0.0) + ohms * search
        length = norm / float((search * image).sum())
        current += length * search
        left -= length * image
        before = norm
    return np.asarray(source - drops(current, wires))
