"""SCALE-Sim's numbers in closed form, as it reports them and as they should be.

A. Samajdar et al., "A systematic methodology for characterizing scalability of DNN accelerators
using SCALE-Sim", ISPASS 2020; the formulas are those that SCALE-Sim 3.0.0 obeys in every one of
its runs at hand (`tetrapla validate scalesim`), among them its own defects: the total is the
index of the last cycle, one too few, and an output-stationary array's writes are counted
too often.

Every fold is charged the whole array, and loading, skew and draining are not overlapped: the
simplest systolic array, without double-buffered weights. The machine of this package is
another one. `totals` gives the same cycles of many arrays at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.errors import SpecError

Dataflow: TypeAlias = Literal["os", "ws", "is"]
Counts: TypeAlias = NDArray[np.int64]
Shares: TypeAlias = NDArray[np.float64]
Size = TypeVar("Size", int, Counts)

DATAFLOWS: tuple[Dataflow, ...] = ("os", "ws", "is")
_EXACT = 2.0**53
_DENSE = 64  # places of the table a design, above which only those asked for are summed
_BLOCK = 2**15  # products at a time: 256 KiB of float64, which a second-level cache holds


@dataclass(frozen=True)
class Layers:
    """Layers as matrix products: m x k activations times k x n weights, one entry a layer.

    Attributes:
        m, n, k: the sizes.
        count: how many such products a layer is; SCALE-Sim makes a layer of every channel of
            a depthwise convolution.
        kept, of: of each `of` weights along k, the first `kept` are not zero (N:M sparsity).
    """

    m: Counts
    n: Counts
    k: Counts
    count: Counts | int = 1
    kept: Counts | int = 1
    of: Counts | int = 1

    @classmethod
    def of_convolutions(cls, sizes: Counts) -> Layers:
        """From rows of a topology: ifmap H, W, filter H, W, channels, filters, stride.

        The ifmap holds its padding. Where the stride does not divide, SCALE-Sim adds a row of
        outputs whose windows leave the ifmap, and so does this.
        """
        height, width, rows, cols, channels, filters, stride = sizes.T
        tall = -(-(height - rows + stride) // stride)
        wide = -(-(width - cols + stride) // stride)
        return cls(tall * wide, filters, rows * cols * channels)

    @property
    def is_sparse(self) -> bool:
        """Whether a layer leaves out weights."""
        return not (isinstance(self.of, int) and self.of == 1)

    @property
    def macs(self) -> Counts:
        """Multiply-accumulates, those with a zero weight among them, as SCALE-Sim counts."""
        return self.m * self.n * self.k * self.count

    def compressed(self) -> Layers:
        """The layers that the array works on: without the weights that sparsity leaves out."""
        if not self.is_sparse:
            return self
        kept = self.k // self.of * self.kept + np.minimum(self.kept, self.k % self.of)
        return replace(self, k=kept, kept=1, of=1)

    def dense(self) -> Layers:
        """The layers with all their weights: what SCALE-Sim makes of them by default."""
        return replace(self, kept=1, of=1)


@dataclass(frozen=True)
class Folded:
    """Layers on an array, an entry a layer.

    Attributes:
        cycles: of all folds.
        cycles_reported: what SCALE-Sim 3.0.0 writes, one less for each of its layers.
        ifmap_reads, filter_reads, ofmap_writes: of the scratchpads, in words. A sparse layer's
            ifmap reads may be no whole number: SCALE-Sim takes M/N reads for a kept weight.
        ofmap_writes_reported: what SCALE-Sim 3.0.0 writes.
        ofmap_reads: partial sums read back to be added to; SCALE-Sim counts none.
        utilization_pct: multiply-accumulates by what the array could do in `cycles_reported`;
            not finite where that is no cycle.
        mapping_pct: the mean share of the array that a fold fills.
        compute_pct: its share of work in a fold's cycles, to which SCALE-Sim adds cols - 1
            cycles unless the outputs are stationary.
    """

    cycles: Counts
    cycles_reported: Counts
    ifmap_reads: Counts | Shares
    filter_reads: Counts
    ofmap_writes: Counts
    ofmap_writes_reported: Counts
    ofmap_reads: Counts
    utilization_pct: Shares
    mapping_pct: Shares
    compute_pct: Shares


def cycles(layers: Layers, rows: int, cols: int, dataflow: Dataflow) -> Counts:
    """The cycles of each layer, the true ones: SCALE-Sim reports one less.

    Raises:
        SpecError: the array is empty, or there is no such dataflow.
    """
    _check(rows, cols, dataflow)
    down, across, along = _placed(layers.compressed(), dataflow)
    folds = -(-down // rows) * -(-across // cols)
    return folds * (_overhead(rows, cols, dataflow) + along) * layers.count


def folded(layers: Layers, rows: int, cols: int, dataflow: Dataflow) -> Folded:
    """All that is counted of each layer on an array of rows x cols.

    Raises:
        SpecError: the array is empty, or there is no such dataflow.
    """
    total = cycles(layers, rows, cols, dataflow)
    held = layers.compressed()
    down, across, along = _placed(held, dataflow)
    folds, places = -(-down // rows) * -(-across // cols), rows * cols
    made, count = held.m * held.n * held.count, held.count
    writes, more, idle = made * -(-held.k // rows), made * 0, cols - 1
    if dataflow == "os":
        writes, more, idle = made, folds * (rows + cols) * count, 0
    used = 100 * (down * across) / (folds * places)
    with np.errstate(divide="ignore"):
        utilization_pct = 100 * layers.macs / ((total - count) * places)
    return Folded(
        total,
        total - count,
        *_reads(layers, rows, cols, dataflow),
        writes,
        writes + more,
        writes - made,
        utilization_pct,
        used,
        used * along / (_overhead(rows, cols, dataflow) + along + idle),
    )


def totals(layers: Layers, rows: Counts, cols: Counts, dataflow: Dataflow) -> Counts:
    """The true cycles of all layers together, for each array ``rows[i]`` x ``cols[i]``.

    The folds of a layer are a product of one factor that depends on the rows and one that
    depends on the columns, so the sum over layers is a product of two tables with a line for
    every different number of rows and of columns. Counts below 2^53 are exact in float64.

    Raises:
        SpecError: an array is empty, there is no such dataflow, or a sum may be 2^53 or more.
    """
    _check(int(rows.min(initial=1)), int(cols.min(initial=1)), dataflow)
    tall, row_of = np.unique(rows, return_inverse=True)
    wide, col_of = np.unique(cols, return_inverse=True)
    down, across, along = _placed(layers.compressed(), dataflow)
    folds_down = -(-down // tall[:, None]) * layers.count
    folds_across = -(-across // wide[:, None])
    extra = _overhead(rows, cols, dataflow)
    _check_sum(folds_down, folds_across, along, extra)
    a, b = folds_down.astype(np.float64), folds_across.astype(np.float64)
    if tall.size * wide.size <= _DENSE * rows.size:
        folds, work = ((x @ b.T)[row_of, col_of] for x in (a, a * along))
    else:
        folds, work = _gathered(a, b, along, row_of, col_of)
    found: Counts = (folds * extra + work).astype(np.int64)
    return found


def _reads(
    layers: Layers, rows: int, cols: int, dataflow: Dataflow
) -> tuple[Counts | Shares, Counts]:
    """Words read of the ifmap and of the filters; what stays in place is read once."""
    held = layers.compressed()
    ifmap, filters = held.m * held.k * held.count, held.k * held.n * held.count
    match dataflow:
        case "os":
            return ifmap * -(-held.n // cols), filters * -(-held.m // rows)
        case "ws" if layers.is_sparse:
            return ifmap * -(-held.n // cols) * (layers.of / np.asarray(layers.kept)), filters
        case "ws":
            return ifmap * -(-held.n // cols), filters
        case "is":
            return ifmap, filters * -(-held.m // cols)


def _gathered(
    a: Shares, b: Shares, along: Counts, row_of: NDArray[np.intp], col_of: NDArray[np.intp]
) -> tuple[Shares, Shares]:
    """Sums of folds, and of folds x `along`, of (row, column) pairs; blocks fit the cache."""
    folds, work, weights = np.empty(row_of.size), np.empty(row_of.size), along.astype(float)
    step = max(1, _BLOCK // max(along.size, 1))
    for start in range(0, row_of.size, step):
        part = slice(start, start + step)
        each = a[row_of[part]] * b[col_of[part]]
        folds[part] = each.sum(1)
        work[part] = each @ weights
    return folds, work


def _placed(layers: Layers, dataflow: Dataflow) -> tuple[Counts, Counts, Counts]:
    """The sizes along the array's rows, along its columns, and in time."""
    match dataflow:
        case "os":
            return layers.m, layers.n, layers.k
        case "ws":
            return layers.k, layers.n, layers.m
        case "is":
            return layers.k, layers.m, layers.n


def _overhead(rows: Size, cols: Size, dataflow: Dataflow) -> Size:
    """Cycles of a fold beside its work: the skew, and rows to load what stays."""
    return (1 if dataflow == "os" else 2) * rows + cols - 2


def _check(rows: int, cols: int, dataflow: str) -> None:
    if min(rows, cols) < 1:
        raise SpecError(f"an array must have at least one row and column, not {rows} x {cols}")
    if dataflow not in DATAFLOWS:
        raise SpecError(f"dataflow must be one of {', '.join(DATAFLOWS)}, not '{dataflow}'")


def _check_sum(down: Counts, across: Counts, along: Counts, extra: Counts) -> None:
    most = down.max(0, initial=0).astype(float) * across.max(0, initial=0)
    bound = float((most * (along + float(extra.max(initial=0)))).sum())
    if bound >= _EXACT:
        raise SpecError(
            f"the cycles of all layers must stay below 2^53, not reach {bound:.3g}; "
            "sum fewer layers at a time"
        )
