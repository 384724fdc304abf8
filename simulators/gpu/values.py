"""What the kernels compute, tile by tile, in the plan's own number formats and order.

Arrays have a leading axis of invocations; the rest of a buffer is flat, as device memory is.
Every product of a tile is one BLAS call per invocation and k tile, so the result does not
depend on how many invocations run together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.quant.arithmetic import sum_terms
from tetrapla.ir.quant.scale import fused_multiply_add
from tetrapla.simulators.gpu.code import registers
from tetrapla.simulators.gpu.formats import is_float, multiplied
from tetrapla.simulators.gpu.fused_attention import FusedAttention, attended
from tetrapla.simulators.gpu.indices import (
    conv_operands,
    matmul_operands,
    strided,
    window_operand,
    window_padded,
)
from tetrapla.simulators.gpu.kernels import (
    Binary,
    Conv,
    Expression,
    Gather,
    GlobalPool,
    Kernel,
    MatMul,
    Pointwise,
    Pool,
    Product,
    Softmax,
)
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.recurrent import Recurrent, recurred
from tetrapla.simulators.gpu.sparse import looked_up
from tetrapla.simulators.gpu.steps import RANGES, Place, round_half_even

CHUNK: Final = 2**16  # lanes of generated code at a time, which bounds the memory
PROBED: Final = 16  # invocations of which a run keeps what every kernel stored, at most
MOST_PROBED: Final = 2**29  # elements that are kept so, assumed: a gigabyte of float16


@dataclass(frozen=True)
class Held:
    """What a run of the kernels left.

    Attributes:
        outputs: (invocations, *shape) by output name, in the module's types.
        probed: numbers of the invocations below, ascending.
        stored: by buffer of the inputs and of every kernel, [probed, elements], read-only.
    """

    outputs: Mapping[str, Array]
    probed: tuple[int, ...] = ()
    stored: Mapping[str, Array] = field(default_factory=dict[str, Array])


def values(program: Program, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """The outputs alone of `executed`."""
    return dict(executed(program, inputs, 0).outputs)


def executed(program: Program, inputs: Mapping[str, Array], most: int = PROBED) -> Held:
    """Run the plan's kernels.

    Args:
        program: with its weights.
        inputs: (invocations, *shape) by input name; floats are rounded to the buffers' type.
        most: how many invocations to probe at most, spread evenly; of a large program fewer,
            one at least, so that no more than `MOST_PROBED` elements are kept.
    """
    memory = program.memory
    count = max(len(np.asarray(array)) for array in inputs.values())
    kept_elements = sum(b.elements for b in program.buffers if b.role != "weight")
    most = min(most, max(1, MOST_PROBED // max(1, kept_elements)), count)
    probed = np.unique(np.linspace(0, count - 1, most).astype(np.int64))
    stored: dict[str, Array] = {}
    flat: dict[str, Array] = {}
    last = _last_reads(program)
    with np.errstate(all="ignore"):  # an overflow is an infinity, as on the chip
        for buffer in program.buffers:
            if buffer.role == "weight":
                held = program.weights[buffer.name].reshape(1, -1)
                flat[buffer.name] = _stored(held, buffer.dtype)
        for port in program.inputs:
            array = np.asarray(inputs[port.name])
            rows = array.reshape(len(array), -1)
            flat[port.buffer] = _stored(rows, memory[port.buffer].dtype)
            stored[port.buffer] = _probe(flat[port.buffer], probed)
        for position, kernel in enumerate(program.kernels):
            y = compute(kernel, flat)
            flat[kernel.output] = _stored(y, memory[kernel.output].dtype)
            stored[kernel.output] = _probe(flat[kernel.output], probed)
            for name in [n for n, when in last.items() if when == position]:
                flat.pop(name, None)
    outputs = {
        port.name: _returned(flat[port.buffer], port.shape, port.dtype, count)
        for port in program.outputs
    }
    kept = MappingProxyType(stored) if len(probed) else {}
    return Held(outputs, tuple(int(number) for number in probed), kept)


def compute(kernel: Kernel, flat: Mapping[str, Array]) -> Array:
    """The kernel's output before its buffer rounds it: (invocations, elements)."""
    return _COMPUTE[type(kernel)](kernel, flat)


def _product(kernel: Product, flat: Mapping[str, Array]) -> Array:
    """The grid of tiles; an element that no tile writes stays out of range, and is seen."""
    count, m, n, _ = kernel.problem
    invocations = max(len(flat[name]) for name in kernel.reads)
    y: Array | None = None
    tiles_m, tiles_n, _ = kernel.grid
    for z in range(count):
        for tile_m in range(tiles_m):
            for tile_n in range(tiles_n):
                row = np.arange(tile_m * kernel.tile.m, min(m, (tile_m + 1) * kernel.tile.m))
                column = np.arange(tile_n * kernel.tile.n, min(n, (tile_n + 1) * kernel.tile.n))
                made, where = tile(kernel, flat, z, row, column)
                # a convolution's groups are beside each other, a product's matrices below
                convolves = isinstance(kernel, Conv)
                channel = z * n + column if convolves else column
                rows = row if convolves else z * m + row
                made = _steps(kernel, made, flat, channel, (rows, channel))
                if y is None:
                    y = _unwritten((invocations, count * m * n), made.dtype)
                y[:, where] = made
    assert y is not None, kernel.name
    return y


def tile(
    kernel: Product, flat: Mapping[str, Array], z: int, row: Array, column: Array
) -> tuple[Array, Array]:
    """One tile's accumulators after the whole k loop, and where its elements go."""
    _, _, _, k = kernel.problem
    total: Array | None = None
    where = np.zeros(0, np.int64)
    for start in range(0, k, kernel.tile.k):
        step = np.arange(start, min(k, start + kernel.tile.k))
        if isinstance(kernel, Conv):
            (a, _, in_image), (b, _), where = conv_operands(kernel, z, row, column, step)
        else:
            assert isinstance(kernel, MatMul)
            (a, in_image), (b, _), where = matmul_operands(kernel, z, row, column, step)
        x = _gathered(flat[kernel.a], a, in_image, kernel.a_zero_point)
        if isinstance(kernel, MatMul) and kernel.places:
            w = looked_up(flat[kernel.b], flat[kernel.places][0], k, step, column)
        else:
            w = flat[kernel.b][:, b]
        partial = dot(kernel, x, w)
        total = partial if total is None else total + partial
    assert total is not None, kernel.name
    if kernel.shift:
        first = z * kernel.problem[2] if isinstance(kernel, Conv) else 0
        total = np.asarray(total + flat[kernel.shift][0][first + column])
    return (total.astype(np.int32) if kernel.operand == "i8" else total), where


def dot(kernel: Product, x: Array, w: Array) -> Array:
    """One k tile's products, summed: float32, or int64 that is exact (int32 once summed)."""
    if kernel.operand == "i8":
        # float64 holds sums of products of 9-bit integers exactly up to k = 2^37
        zero = kernel.a_zero_point
        if kernel.shift:
            zero = 128 if x.dtype == np.uint8 else 0  # the rest is in the shift
        centred = x.astype(np.float64) - zero
        exact: Array = np.matmul(centred, w.astype(np.float64) - kernel.b_zero_point)
        return exact.astype(np.int64)
    # a gather leaves the invocations innermost; NumPy then sums in another order than BLAS
    left, right = (multiplied(np.ascontiguousarray(each), kernel.operand) for each in (x, w))
    return np.asarray(np.matmul(left, right))


def _pool(kernel: Pool, flat: Mapping[str, Array]) -> Array:
    x = _registers(flat[kernel.x])
    elements = kernel.planes * kernel.out[0] * kernel.out[1]
    counted = np.zeros(elements, np.float32)
    y: Array | None = None
    for r in range(kernel.kernel[0]):
        for s in range(kernel.kernel[1]):
            offset, inside = window_operand(kernel, r, s)
            counted += window_padded(kernel, r, s) if kernel.count_include_pad else inside
            if kernel.function == "max":
                lowest = -np.inf if x.dtype.kind == "f" else np.iinfo(np.int32).min
                found = _gathered(x, offset, inside, lowest)
                y = found if y is None else np.maximum(y, found)
                continue
            found = _gathered(x, offset, inside, kernel.zero_points[0])
            if kernel.function == "quant_average":
                found = _real(found, kernel.scales[0], kernel.zero_points[0])
            y = found if y is None else y + found
    assert y is not None, kernel.name
    if kernel.function != "max":
        y = np.asarray(y / counted)
    if kernel.function == "quant_average":
        # the zero point enters before the rounding
        steps = y / np.float32(kernel.scales[1]) + np.float32(kernel.zero_points[1])
        y = _saturated(steps, flat[kernel.x].dtype)
    return _flat_steps(kernel, y, flat)


def _global_pool(kernel: GlobalPool, flat: Mapping[str, Array]) -> Array:
    own = kernel.planes // kernel.beside, kernel.size, kernel.beside
    planes = _registers(flat[kernel.x]).reshape(-1, *own).swapaxes(2, 3)
    x = planes.reshape(-1, kernel.planes, kernel.size)
    if kernel.function == "average":
        total = x.sum(axis=2, dtype=np.float32)
        return _flat_steps(kernel, np.asarray(total / np.float32(kernel.size)), flat)
    whole = (x - kernel.zero_points[0]).sum(axis=2, dtype=np.int64).astype(np.float32)
    x_scale, y_scale = (np.float32(scale) for scale in kernel.scales)
    steps = whole * (x_scale / (y_scale * np.float32(kernel.size)))
    low, high = RANGES["ui8" if flat[kernel.x].dtype == np.uint8 else "i8"]
    zero = kernel.zero_points[1]
    rounded = round_half_even(np.clip(steps, np.float32(low - zero), np.float32(high - zero)))
    return _flat_steps(kernel, rounded.astype(np.int32) + np.int32(zero), flat)


def _softmax(kernel: Softmax, flat: Mapping[str, Array]) -> Array:
    x = flat[kernel.x].astype(np.float32)
    outer = kernel.rows // kernel.stride
    cube = x.reshape(len(x), outer, kernel.length, kernel.stride)
    power = np.exp(cube - cube.max(axis=2, keepdims=True))
    y = power / power.sum(axis=2, keepdims=True)
    return _flat_steps(kernel, y.reshape(len(x), -1), flat)


def _pointwise(kernel: Pointwise, flat: Mapping[str, Array]) -> Array:
    return _flat_steps(kernel, _registers(flat[kernel.x]), flat)


def _binary(kernel: Binary, flat: Mapping[str, Array]) -> Array:
    index = np.arange(int(np.prod(kernel.shape)))
    a = _registers(flat[kernel.a][:, strided(index, kernel.shape, kernel.a_strides)])
    b = _registers(flat[kernel.b][:, strided(index, kernel.shape, kernel.b_strides)])
    if kernel.function == "quant_add":
        y = _quantised_sum(kernel, a, b, flat[kernel.a].dtype)
    else:
        y = np.asarray(a + b if kernel.function == "add" else a * b)
    return _flat_steps(kernel, y, flat)


def _quantised_sum(kernel: Binary, a: Array, b: Array, dtype: np.dtype[np.generic]) -> Array:
    """``fma(a, rA, fma(b, rB, c))`` with the zero points folded into c (ONNX Runtime)."""
    ra, rb, offset = sum_terms(kernel.scales, kernel.zero_points)
    return _saturated(fused_multiply_add(a, ra, fused_multiply_add(b, rb, offset)), dtype)


def _gather(kernel: Gather, flat: Mapping[str, Array]) -> Array:
    index = np.arange(int(np.prod(kernel.shape)))
    return flat[kernel.x][:, strided(index, kernel.shape, kernel.strides)]


def _expression(kernel: Expression, flat: Mapping[str, Array]) -> Array:
    """Rows at a time; an element that no row writes is seen."""
    y: Array | None = None
    count = max((len(flat[name]) for name in kernel.sources), default=1)
    step, lanes = max(1, CHUNK // kernel.length), np.arange(kernel.length)
    for start in range(0, kernel.rows, step):
        rows = np.arange(start, min(kernel.rows, start + step))
        found = registers(kernel.code, rows, lanes, partial(_looked_up, flat))
        value, place = found[kernel.value], found[kernel.place]
        shape = np.broadcast_shapes(value.shape, place.shape)
        made = np.broadcast_to(value, shape).reshape(len(value), -1)
        where = np.broadcast_to(place, (1, *shape[1:])).reshape(-1)
        if y is None:
            elements = kernel.rows * (kernel.length if place.shape[2] > 1 else 1)
            y = _unwritten((count, elements), made.dtype)
        y[:, where] = made
    if y is None:
        return np.zeros((1, 0), np.float32)
    return _flat_steps(kernel, y, flat)


def _looked_up(flat: Mapping[str, Array], buffer: str, offset: Array) -> Array:
    """A buffer's elements as registers hold them."""
    held = flat[buffer]
    rows = np.arange(len(held)).reshape(-1, *(1,) * (offset.ndim - 1))
    found = held[:, offset[0]] if len(offset) == 1 else held[rows, offset]
    return found.astype(np.float32, copy=False) if is_float(held.dtype) else found


_COMPUTE: dict[type[Kernel], Callable[..., Array]] = {
    MatMul: _product,
    Conv: _product,
    Pool: _pool,
    GlobalPool: _global_pool,
    Softmax: _softmax,
    Pointwise: _pointwise,
    Binary: _binary,
    Gather: _gather,
    Expression: _expression,
    FusedAttention: attended,
    Recurrent: recurred,
}


def _steps(
    kernel: Kernel,
    y: Array,
    flat: Mapping[str, Array],
    channel: Array,
    at: tuple[Array, Array],
) -> Array:
    """Apply the steps.

    Args:
        kernel: whose steps.
        y: (invocations, ...).
        flat: the buffers.
        channel: which parameter each element of the last axis takes.
        at: numbers of rows and lanes; see `steps.Place`.
    """

    def laid(name: str) -> Array:
        vector = flat[name][0]
        return vector if len(vector) == 1 else np.asarray(vector[channel])

    place = Place(laid, *at, partial(_looked_up, flat))
    for step in kernel.steps:
        y = step.apply(y, place)
    return y


def _flat_steps(kernel: Kernel, y: Array, flat: Mapping[str, Array]) -> Array:
    index = np.arange(y.shape[1])
    channel = index // kernel.inner % kernel.channels
    return _steps(kernel, y, flat, channel, (index, np.zeros(1, np.int64)))


def _gathered(x: Array, offset: Array, inside: Array, other: float) -> Array:
    """Masked loads: x[:, offset] where `inside`, else `other`."""
    found = x[:, np.where(inside, offset, 0)]
    return np.where(inside, found, x.dtype.type(other)) if not inside.all() else found


def _real(x: Array, scale: float, zero_point: int) -> Array:
    return (x - np.int32(zero_point)).astype(np.float32) * np.float32(scale)


def _saturated(steps: Array, dtype: np.dtype[np.generic]) -> Array:
    low, high = RANGES["ui8" if dtype == np.uint8 else "i8"]
    return round_half_even(np.clip(steps, np.float32(low), np.float32(high))).astype(np.int32)


def _registers(x: Array) -> Array:
    """What a load gives: float32 or int32."""
    return x.astype(np.float32 if is_float(x.dtype) else np.int32, copy=False)


def _stored(y: Array, dtype: str) -> Array:
    return y.astype(DTYPES[dtype], copy=False)


def _probe(y: Array, probed: Array) -> Array:
    """A read-only copy of some invocations' rows; a constant has one row for all."""
    rows = np.array(y[probed] if len(y) > 1 else np.repeat(y, len(probed), axis=0))
    rows.flags.writeable = False
    return rows


def _unwritten(shape: tuple[int, ...], dtype: np.dtype[np.generic]) -> Array:
    """Memory whose content is as wrong as can be."""
    if dtype.kind == "b":
        return np.ones(shape, dtype)
    lowest: Any = np.nan if is_float(dtype) else np.iinfo(dtype.name).min
    return np.full(shape, lowest, dtype)


def _returned(y: Array, shape: tuple[int, ...], dtype: str, count: int) -> Array:
    held = _stored(y, dtype).reshape(len(y), *shape)
    return np.repeat(held, count, axis=0) if len(held) != count else held


def _last_reads(program: Program) -> dict[str, int]:
    """The position of the kernel after which a scratch buffer is free."""
    kept = {port.buffer for port in program.outputs}
    last = {n: i for i, kernel in enumerate(program.kernels) for n in kernel.reads}
    return {name: i for name, i in last.items() if name not in kept}
