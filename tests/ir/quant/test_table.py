"""Tables: their order by hand, and each function against its definition."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.op import OPS
from tetrapla.ir.quant import table


def _looked_up(x: Array, entries: Array) -> Array:
    return np.asarray(OPS["qnn.lookup"].evaluate(x, entries))


def test_the_least_value_stands_first() -> None:
    # 4 bits, signed: -8 to 7
    entries = np.arange(100, 116).astype(np.uint8)
    x = np.array([[-8, -1, 0, 7]]).astype(DTYPES["i4"])
    assert _looked_up(x, entries).tolist() == [[100, 107, 108, 115]]
    assert _looked_up(np.array([0, 255], np.uint8), np.arange(256)).tolist() == [0, 255]


def test_by_hand() -> None:
    """Scale 1/2, zero point 1, relu6, to scale 1/4 and zero point -100: (x - 1) * 2 - 100."""
    entries = table.lookup_table(table.relu6, 0.5, 1, 0.25, -100)
    x = np.array([-128, 0, 1, 2, 5, 13, 14, 127], np.int8)
    # 13 is 6.0, 24 quarters; all above are the same
    assert _looked_up(x, entries).tolist() == [-100, -100, -100, -98, -92, -76, -76, -76]


def test_sixteen_bits_to_eight() -> None:
    entries = table.lookup_table(table.tanh, 2.0**-13, 0, 2.0**-7, 0, x_dtype="i16")
    assert entries.shape == (65536,)
    x = np.array([-32768, 0, 8192, 32767], np.int16)
    # tanh 1 = 0.76159, 97.48 steps; tanh 4 = 0.99933, 127.9 steps, saturated
    assert _looked_up(x, entries).tolist() == [-128, 0, 97, 127]


def _sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def test_sigmoid_is_the_runtime_s_own(kernel: Callable[..., Any]) -> None:
    """Bit for bit on 10^6 floats, a multiple of the vector's length so that no tail is left."""
    x = np.concatenate([np.linspace(-20, 20, 999_992), [0, -0.0, 18, -18, 1e-30, 90, -90, 1]])
    single = x.astype(np.float32)
    (theirs,) = kernel("Sigmoid", ["x"], {"x": single}, {})(x=single)
    assert np.array_equal(table.sigmoid(single), theirs)


FUNCTIONS: list[tuple[Callable[[Array], Array], Callable[[float], float]]] = [
    (table.tanh, math.tanh),
    (table.gelu, lambda x: x / 2 * (1 + math.erf(x / math.sqrt(2)))),
    (table.silu, lambda x: x * _sigmoid(x)),
    (table.hard_swish, lambda x: x * min(1.0, max(0.0, x / 6 + 0.5))),
    (table.hard_sigmoid(0.25, 0.5), lambda x: min(1.0, max(0.0, x / 4 + 0.5))),
    (table.relu, lambda x: max(x, 0.0)),
    (table.relu6, lambda x: min(max(x, 0.0), 6.0)),
    (table.leaky_relu(0.25), lambda x: x if x >= 0 else x / 4),
    (table.elu(2.0), lambda x: x if x > 0 else 2 * math.expm1(x)),
]


@pytest.mark.parametrize(("function", "definition"), FUNCTIONS)
def test_functions_by_their_definition(
    function: Callable[[Array], Array], definition: Callable[[float], float]
) -> None:
    """Within four roundings to float32 of values up to |x|.

    Four is hard_swish: 1/6, a product, a sum, a product. GELU's definition itself cancels in
    float64 for x near -8, an absolute 2^-52 |x| and far below.
    """
    x = np.concatenate([np.linspace(-12, 12, 481), [-1000, 1000, 0.0]]).astype(np.float32)
    ours = function(x)
    assert ours.dtype == np.float32
    wanted = np.array([definition(float(v)) for v in x])
    bound = 4 * 2.0**-24 * np.maximum(np.abs(wanted), np.maximum(np.abs(x), 1))
    assert (np.abs(ours - wanted) <= bound).all()
