"""How long a recurrent layer's kernel takes: its steps wait for one another.

With n steps, an instance reads the recurrent matrix from the L2 cache in each, and computes a
tile of the state after another::

    t = t0 + waves n (tiles x latency + max(bytes / (feed f), operations / (ec peak / S)))

S multiprocessors, one instance on each; feed is the bytes a clock that one draws from the L2
cache. No timing of such a kernel is in the fits, so that this is the order of magnitude.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from tetrapla.simulators.gpu.recurrent import Recurrent
from tetrapla.simulators.gpu.spec import GpuSpec

# of a tile of the state: dependent loads of what the last step has stored, and what the gates
# read behind the product, some 270 clocks each from the L2 cache, the product's and a barrier's
# own; assumed
_LATENCY_S = 1e-6
_FEED_BYTE_PER_CLOCK = 64.0  # where a chip's fit has none, assumed


@dataclass(frozen=True)
class Recurrence:
    """The parts of a kernel's time besides its launch.

    Attributes:
        latency_s: waiting.
        feed_s: what the matrix takes from the L2 cache.
        compute_s: the arithmetic beside that.
        l2_bytes: all that instances read of the matrix.
    """

    latency_s: float
    feed_s: float
    compute_s: float
    l2_bytes: float

    @property
    def busy_s(self) -> float:
        """From launch to end."""
        return self.latency_s + max(self.feed_s, self.compute_s)

    @property
    def bound_by(self) -> str:
        """What takes most of it."""
        named = {"latency": self.latency_s, "l2": self.feed_s, "compute": self.compute_s}
        return max(named, key=lambda name: named[name])


def recurrence(
    kernel: Recurrent, matrix_bytes: int, spec: GpuSpec, number_format: str
) -> Recurrence:
    """The parts of a layer's time.

    Args:
        kernel: the layer.
        matrix_bytes: of the recurrent matrices of all directions.
        spec: the chip.
        number_format: of the products.

    Raises:
        UnsupportedError: the chip lacks the format.
    """
    product, sms = spec.timing.product, spec.streaming_multiprocessors
    feed = product.tiles.feed_byte_per_clock if product.tiles else _FEED_BYTE_PER_CLOCK
    instances = prod(kernel.grid)
    rounds = ceil(instances / sms) * kernel.length
    tiles = ceil(kernel.hidden / kernel.tile_hidden)
    if kernel.scratch and kernel.op == "nn.gru":
        tiles *= 2  # the reset before the product: two passes over the state
    own_bytes = matrix_bytes / kernel.directions
    peak = product.compute_efficiency_frac * spec.peak_op_per_s(number_format) / sms
    padded = 2 * kernel.tile_batch * kernel.gates * kernel.hidden**2
    return Recurrence(
        rounds * tiles * _LATENCY_S,
        rounds * own_bytes / (feed * spec.clock_hz),
        rounds * padded / peak,
        instances * kernel.length * own_bytes,
    )
