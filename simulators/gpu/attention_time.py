"""How long attention over a whole sequence takes, fused: products and exponentials together.

With head dimension d, h heads, batch b and a sequence of S, F = 4 S^2 d h b operations and
X = S^2 h b exponentials, both halved where the mask is causal::

    t = t0 + c F / (ec peak) + c xexp X / special + waves us_per_wave
    waves = ceil(S / 128) h b / multiprocessors
    c = 1 + 128 / S under a causal mask (whole blocks on the diagonal), else 1

The constants are of published kernels on the H100 (`KERNELS`); on another chip they are
assumed to hold relative to its own peaks. All the figures move the same bytes, so that t0 is of
the launch and of what the memory takes unhidden, which cannot be told apart; of a kernel of a
plan (`parts`), t0 beyond the chip's launch is assumed to grow with its bytes. No kernel is
quicker than its bytes.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.spec import GpuSpec

_BLOCK = 128  # queries of a program instance
# what every fitted point moves at the H100's bandwidth: four tensors of 16384 x 2048 halves
_FITTED_MOVING_S = 4 * 16384 * 2048 * 2 / 3.35e12
_FITTED_LAUNCH_S = 5.4e-6  # of a product: simulators/chips/h100.yaml


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


@dataclass(frozen=True)
class Parts:
    """What a kernel of a plan takes besides its launch.

    Attributes:
        compute_s, exponential_s, wave_s: of the multiprocessors, one on another.
        unhidden_s: of the memory beside them.
        dram_s: the memory alone, at the pace that products reach.
    """

    compute_s: float
    exponential_s: float
    wave_s: float
    unhidden_s: float
    dram_s: float

    @property
    def busy_s(self) -> float:
        """From launch to end."""
        parts = self.compute_s + self.exponential_s + self.wave_s + self.unhidden_s
        return max(parts, self.dram_s)

    @property
    def bound_by(self) -> str:
        """What takes most of it."""
        if self.busy_s == self.dram_s:
            return "dram"
        named = {
            "compute": self.compute_s,
            "exponentials": self.exponential_s,
            "wave quantisation": self.wave_s,
            "dram": self.unhidden_s,
        }
        return max(named, key=lambda name: named[name])


def parts(
    kernel: FusedAttention,
    moved_bytes: int,
    spec: GpuSpec,
    number_format: str,
) -> Parts:
    """The parts of an attention's time, of a library's kernel as products are.

    Pairs of a query and a key count where a tile looks at them. Exponentials are assumed to be
    hidden where no source gives a chip's pace of them.

    Raises:
        UnsupportedError: the chip lacks the format.
    """
    library = KERNELS["cuDNN"]
    per_clock = spec.throughput.exponential
    exponential_s = 0.0
    if per_clock is not None:
        special_per_s = per_clock * spec.streaming_multiprocessors * spec.clock_hz
        exponential_s = library.exponential * kernel.pairs / special_per_s
    peak = library.compute_efficiency * spec.peak_op_per_s(number_format)
    blocks = ceil(kernel.rows / _BLOCK) * kernel.heads * kernel.instances
    share = (library.launch_s - _FITTED_LAUNCH_S) / _FITTED_MOVING_S
    moving_s = moved_bytes / spec.dram.bandwidth_bytes_per_s
    return Parts(
        2 * kernel.macs / peak,
        exponential_s,
        blocks / spec.streaming_multiprocessors * library.wave_s,
        share * moving_s,
        moving_s / spec.timing.product.dram_efficiency_frac,
    )
