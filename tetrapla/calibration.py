"""`calibrate gpu`: the level-1 constants of a GPU from a few timings of a user's own.

Fitted are the compute efficiency, the memory efficiency and the launch time of matrix products
(`simulators.gpu.product_time`), as the logarithms that make ``sum((ln t - ln t_measured)^2)``
least, each held towards the prior like a measurement of its own. The error of the result is
that of every timing under a fit to the others.
"""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.simulators.gpu.product_time import Floats, dense, pnorm4, product_times
from tetrapla.simulators.gpu.spec import ELEMENT_BYTES, GpuSpec, Product
from tetrapla.simulators.spec_ import Loaded, load_tree
from tetrapla.simulators.yaml_ import Mapping, read_text

COLUMNS = ("m", "n", "k", "format", "time_s")
LEAST_ROWS = 3
ENOUGH_ROWS = 20  # at 10 the median error is that of 20, the worst case up to twice as large
# of a GPU that nobody fitted: 6.4, 10.9 and 8.9 % mean error on an A100's, an H100's and an
# A40's fp16 products (microsoft/vidur), after which it was chosen
PRIOR = Product(compute_efficiency=0.72, dram_efficiency=0.80, launch=9e-6)
# how far the constants of one GPU lie from the prior, and a timing from the model, as standard
# deviations of logarithms; assumed: the fits of three GPUs differ from the prior by 2 and 8 %,
# and launches between measurement contexts by a factor of 3
_SPREAD = np.array([0.1, 0.2, 0.7])
_NOISE = 0.1
_STEPS = 60
_LEAST_LAUNCH_S = 1e-7  # assumed: a kernel takes no less
_MOST_LAUNCH_S = 1e-3
_LARGEST = 2**20


@dataclass(frozen=True)
class Timing:
    """One matrix product's measured time; the result has the operands' format."""

    m: int
    n: int
    k: int
    number_format: str
    time_s: float


@dataclass(frozen=True)
class Calibration:
    """A fit and what it is worth.

    Attributes:
        prior, product: the constants before and after.
        shipped_error: mean relative error of the chip as it was.
        error: mean relative error of each timing under a fit to the others.
        rows: how many timings.
    """

    prior: Product
    product: Product
    shipped_error: float
    error: float
    rows: int


def timings(path: Path, spec: GpuSpec) -> list[Timing]:
    """Read a user's timings.

    Raises:
        ModelError: the file or a row is not what it should be, with its line.
    """
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError):
        raise ModelError(f"--measurements must be a readable CSV file, not '{path}'") from None
    reader = csv.DictReader(lines)
    given = [name.strip() for name in reader.fieldnames or ()]
    missing = [name for name in COLUMNS if name not in given]
    if missing:
        raise ModelError(
            f"{path}:1: the columns must be {', '.join(COLUMNS)}, not "
            f"{', '.join(given) or 'none'}"
        )
    reader.fieldnames = given
    rows = [_timing(row, f"{path}:{reader.line_num}", spec) for row in reader]
    if len(rows) < LEAST_ROWS:
        raise ModelError(
            f"{path}: there must be at least {LEAST_ROWS} timings, not {len(rows)}; measure "
            f"{ENOUGH_ROWS} products, small and large"
        )
    return rows


def calibrate(rows: Sequence[Timing], spec: GpuSpec) -> Calibration:
    """Fit a chip's level-1 constants.

    Args:
        rows: at least three timings.
        spec: the chip; where it is of level 1 already its constants are the prior.
    """
    prior = spec.timing.product if spec.level == 1 else PRIOR
    data = _Data.of(rows, spec)
    # of what was measured; a host that waits is a constant of its own in the chip's file
    waited = prior.model_copy(update={"launch_s": prior.launch_s + spec.synchronize_s})
    apart = [_fit(data.without(i), waited) for i in range(len(rows))]
    left_out = [float(data.only(i).seconds(x)[0]) for i, x in enumerate(apart)]
    measured = data.measured_s
    return Calibration(
        prior,
        _product(_fit(data, waited), spec.synchronize_s),
        _mean_error(shipped_s(rows, spec), measured),
        _mean_error(np.array(left_out), measured),
        len(rows),
    )


def shipped_s(rows: Sequence[Timing], spec: GpuSpec) -> Floats:
    """The times that the chip gives as it stands."""
    found = np.zeros(len(rows))
    for number_format in dict.fromkeys(row.number_format for row in rows):
        at = [i for i, row in enumerate(rows) if row.number_format == number_format]
        shapes = dense(*_sizes([rows[i] for i in at]), ELEMENT_BYTES[number_format])
        found[at] = product_times(shapes, spec, number_format).time_s + spec.synchronize_s
    return found


def fitted_s(rows: Sequence[Timing], spec: GpuSpec, product: Product) -> Floats:
    """The times that level 1 gives with these constants on a chip."""
    return _Data.of(rows, spec).seconds(_logarithms(product)) + spec.synchronize_s


def calibrated_yaml(loaded: Loaded[GpuSpec], found: Calibration, source: str) -> str:
    """The chip's YAML with the fitted constants in it, as ``NAME-calibrated``.

    Raises:
        ModelError: the file does not write timing.product as a block of its own lines.
    """
    tree = read_text(loaded.text, loaded.name)
    timing = tree.entries.get("timing")
    assert isinstance(timing, Mapping)  # the spec has been read from it
    start = timing.keys["product"].line
    later = [place.line for place in (*timing.keys.values(), *tree.keys.values())]
    lines = loaded.text.splitlines()
    end = min((line for line in later if line > start), default=len(lines) + 1)
    if start == tree.keys["timing"].line:
        raise ModelError(
            f"target '{loaded.name}' must write timing.product in lines of its own, not in "
            "braces; spread it over lines"
        )
    indent = " " * (timing.keys["product"].column - 1)
    block = _block(found.product, f"calibrated from {source} ({found.rows} rows)", indent)
    lines[start - 1 : end - 1] = block
    lines[tree.keys["name"].line - 1] = f"name: {loaded.spec.name}-calibrated"
    text = "\n".join(lines) + "\n"
    load_tree(read_text(text, "the calibrated chip"), text, "the calibrated chip", GpuSpec)
    return text


def _block(product: Product, source: str, indent: str) -> list[str]:
    values = {
        "compute_efficiency": f"{product.compute_efficiency_frac:.4g}",
        "dram_efficiency": f"{product.dram_efficiency_frac:.4g}",
        "launch": f"{product.launch_s * 1e6:.4g} us",
    }
    quoted = source.replace("\\", "\\\\").replace('"', '\\"')
    return [
        f"{indent}product:",
        *(
            f'{indent}  {key}: {{value: {value}, source: "{quoted}", grade: measured}}'
            for key, value in values.items()
        ),
    ]


def _timing(row: dict[str, str], where: str, spec: GpuSpec) -> Timing:
    m, n, k = (_size(row, name, where) for name in ("m", "n", "k"))
    number_format = (row["format"] or "").strip()
    if number_format not in spec.formats:
        raise ModelError(
            f"{where}: format must be one that {spec.name} multiplies, "
            f"{', '.join(spec.formats)}, not '{number_format}'"
        )
    text = (row["time_s"] or "").strip()
    try:
        time_s = float(text)
    except ValueError:
        time_s = 0.0
    if not isfinite(time_s) or time_s <= 0:
        raise ModelError(f"{where}: time_s must be a positive number of seconds, not '{text}'")
    least_s = m * n * k / spec.peak_op_per_s(number_format)  # at twice the peak
    if time_s < least_s:
        raise ModelError(
            f"{where}: time_s must be at least {least_s:.3g}, which is twice {spec.name}'s "
            f"{number_format} peak, not {text}; give seconds"
        )
    return Timing(m, n, k, number_format, time_s)


def _size(row: dict[str, str], name: str, where: str) -> int:
    text = (row[name] or "").strip()
    if not (text.isascii() and text.isdigit()) or not 1 <= int(text[:20]) <= _LARGEST:
        raise ModelError(
            f"{where}: {name} must be a whole number in 1..{_LARGEST}, not '{text}'"
        )
    return int(text)


@dataclass(frozen=True)
class _Data:
    """Level 1's two terms at full efficiency, and the measured times; arrays of (rows,)."""

    compute_s: Floats
    dram_s: Floats
    measured_s: Floats

    @classmethod
    def of(cls, rows: Sequence[Timing], spec: GpuSpec) -> _Data:
        m, n, k = _sizes(rows)
        peaks = np.array([spec.peak_op_per_s(row.number_format) for row in rows])
        widths = np.array([ELEMENT_BYTES[row.number_format] for row in rows])
        return cls(
            2 * m * n * k / peaks,
            widths * (m * k + k * n + m * n) / spec.dram.bandwidth_bytes_per_s,
            np.array([row.time_s for row in rows]),
        )

    def without(self, index: int) -> _Data:
        return _Data(*(np.delete(a, index) for a in self._arrays))

    def only(self, index: int) -> _Data:
        return _Data(*(a[index : index + 1] for a in self._arrays))

    @property
    def _arrays(self) -> tuple[Floats, Floats, Floats]:
        return self.compute_s, self.dram_s, self.measured_s

    def seconds(self, x: Floats) -> Floats:
        """At the constants whose logarithms are x."""
        compute, dram, launch_s = (float(value) for value in np.exp(x))
        return launch_s + pnorm4(self.compute_s / compute, self.dram_s / dram)


def _sizes(rows: Sequence[Timing]) -> tuple[Floats, Floats, Floats]:
    m, n, k = (np.array([getattr(row, axis) for row in rows], np.float64) for axis in "mnk")
    return m, n, k


def _fit(data: _Data, prior: Product) -> Floats:
    """Gauss and Newton's steps, damped after Levenberg and Marquardt, within the bounds."""
    middle = _logarithms(prior)
    low = np.log([1e-3, 1e-3, _LEAST_LAUNCH_S])
    high = np.log([1.0, 1.0, _MOST_LAUNCH_S])

    def residuals(x: Floats) -> Floats:
        missed = np.log(data.seconds(x) / data.measured_s) / _NOISE
        found: Floats = np.concatenate([missed, (x - middle) / _SPREAD])
        return found

    x: Floats = middle
    damping = 1.0
    now = residuals(x)
    for _ in range(_STEPS):
        slopes = [(residuals(x + step) - now) / 1e-6 for step in 1e-6 * np.eye(3)]
        jacobian = np.stack(slopes, axis=1)
        square = jacobian.T @ jacobian
        square = square + damping * np.diag(np.diag(square))
        tried = np.clip(x - np.linalg.solve(square, jacobian.T @ now), low, high)
        then = residuals(tried)
        if then @ then < now @ now:
            x, now, damping = tried, then, damping / 4
        else:
            damping *= 4
    return x


def _logarithms(product: Product) -> Floats:
    launch_s = max(product.launch_s, _LEAST_LAUNCH_S)
    efficiencies = (product.compute_efficiency_frac, product.dram_efficiency_frac)
    found: Floats = np.log(np.array([*efficiencies, launch_s]))
    return found


def _product(x: Floats, synchronize_s: float) -> Product:
    compute, dram, launch_s = (float(value) for value in np.exp(x))
    return Product(
        compute_efficiency=min(compute, 1.0),
        dram_efficiency=min(dram, 1.0),
        launch=max(0.0, launch_s - synchronize_s),
    )


def _mean_error(found_s: Floats, measured_s: Floats) -> float:
    return float(np.mean(np.abs(found_s / measured_s - 1)))
