"""How long attention takes that is not fused: two products with a softmax between them."""

from __future__ import annotations

import numpy as np

from tetrapla.simulators.gpu.attention_time import Attention
from tetrapla.simulators.gpu.product_time import Shapes, product_times
from tetrapla.simulators.gpu.spec import ELEMENT_BYTES, GpuSpec
from tetrapla.simulators.gpu.time import stream_time


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
