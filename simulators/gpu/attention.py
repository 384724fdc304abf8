"""Attention over a whole sequence, fused: matrix products and exponentials, one on another.

With head dimension d, h heads, batch b and a sequence of S, F = 4 S^2 d h b operations and
X = S^2 h b exponentials, both halved where the mask is causal::

    t = t0 + c F / (ec peak) + c xexp X / special + waves us_per_wave
    waves = ceil(S / 128) h b / multiprocessors
    c = 1 + 128 / S under a causal mask (whole blocks on the diagonal), else 1

The constants are of published kernels on the H100 (`KERNELS`); on another chip they are
assumed to hold relative to its own peaks.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

import numpy as np

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.gpu.products import Shapes, product_times
from tetrapla.simulators.gpu.spec import ELEMENT_BYTES, GpuSpec
from tetrapla.simulators.gpu.time import stream_time

_BLOCK = 128  # queries of a program instance


@dataclass(frozen=True)
class FusedKernel:
    """A published kernel's constants, fitted to the figures of the FlashAttention-3 paper.

    Attributes:
        compute_efficiency: of the tensor cores' peak.
        exponential: share of the special function units' time that is not hidden.
        launch_s, wave_s: of the launch, and of each wave of blocks.
    """

    compute_efficiency: float
    exponential: float
    launch_s: float
    wave_s: float


# J. Shah et al., "FlashAttention-3", 2024, figures of the forward pass in fp16 on the H100
# SXM5; each of the three is fitted to 30 points
KERNELS = {
    "FA3": FusedKernel(0.93, 0.86, 53e-6, 0.96e-6),
    "FA2": FusedKernel(0.38, 0.38, 40e-6, 0.64e-6),
    "cuDNN": FusedKernel(0.81, 1.14, 22e-6, 0.62e-6),
}


@dataclass(frozen=True)
class Attention:
    """Self-attention of `batch` sequences."""

    batch: int
    heads: int
    sequence: int
    head_dim: int
    causal: bool

    @property
    def operations(self) -> float:
        """Of both products, a multiply-add being two; a causal mask halves them."""
        return self._pairs * 4 * self.head_dim

    @property
    def exponentials(self) -> float:
        """One for each pair of positions that the mask keeps."""
        return self._pairs

    @property
    def _pairs(self) -> float:
        pairs = float(self.batch * self.heads * self.sequence**2)
        return pairs / 2 if self.causal else pairs


def fused_time_s(
    problem: Attention, kernel: FusedKernel, spec: GpuSpec, number_format: str = "fp16"
) -> float:
    """Seconds of a fused kernel.

    Raises:
        UnsupportedError: the chip lacks the format, or no source gives the pace of its
            exponentials.
    """
    per_clock = spec.throughput.exponential
    if per_clock is None:
        raise UnsupportedError(
            f"{spec.name} must have throughput.exponential to time fused attention, not none; "
            "give it with --set throughput.exponential=16"
        )
    special_per_s = per_clock * spec.streaming_multiprocessors * spec.clock_hz
    diagonal = 1 + _BLOCK / problem.sequence if problem.causal else 1.0
    peak = kernel.compute_efficiency * spec.peak_op_per_s(number_format)
    blocks = ceil(problem.sequence / _BLOCK) * problem.heads * problem.batch
    return (
        kernel.launch_s
        + spec.synchronize_s
        + diagonal * problem.operations / peak
        + diagonal * kernel.exponential * problem.exponentials / special_per_s
        + blocks / spec.streaming_multiprocessors * kernel.wave_s
    )


def unfused_time_s(problem: Attention, spec: GpuSpec, number_format: str = "fp16") -> float:
    """Seconds of two products with a softmax between them, each through the memory.

    A causal mask saves nothing: all pairs are computed.

    Raises:
        UnsupportedError: the chip lacks the format.
    """
    count, length, dim = problem.batch * problem.heads, problem.sequence, problem.head_dim
    width = ELEMENT_BYTES[number_format]
    heads, pairs = width * count * length * dim, width * count * length**2

    def product(n: int, k: int, operand_bytes: int, result_bytes: int) -> float:
        sizes = np.array([count, length, n, k, operand_bytes, result_bytes], np.float64)
        number, m, across, depth, operands, results = sizes[:, None]
        shapes = Shapes(number, m, across, depth, operands, results, width)
        found = product_times(shapes, spec, number_format)
        return float(found.time_s[0]) + spec.synchronize_s

    softmax = stream_time(2 * pairs, spec.timing.normalization, spec).time_s
    scores = product(length, dim, 2 * heads, pairs)
    return scores + softmax + product(dim, length, heads + pairs, heads)
