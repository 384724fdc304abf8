"""Multiplying tiles, by the format that the multipliers take: lines, and what they call."""

from __future__ import annotations

from tetrapla.backends.gpu.triton.text import TYPES
from tetrapla.simulators.gpu.kernels import Product

# under Triton 3.9's interpreter bfloat16 is multiplied as the integers that hold its bits, and
# casts to it and to 8-bit floats cut off in place of rounding
_INTERPRETED = """

INTERPRETED = tl.constexpr(triton.knobs.runtime.interpret)
"""
_TO_BF16 = '''

@triton.jit
def to_bf16(x):
    """Float32 to bfloat16, half to even; the interpreter's own cast would cut off."""
    if INTERPRETED:
        bits = x.to(tl.int32, bitcast=True)
        near = ((bits + 32767 + ((bits >> 16) & 1)) & -65536).to(tl.float32, bitcast=True)
        x = tl.where(x == x, near, x)
    return x.to(tl.bfloat16)


@triton.jit
def dot_bf16(a, b, y):
    """Add a product of bfloat16; the interpreter's own would multiply integers."""
    if INTERPRETED:
        a = a.to(tl.float32)
        b = b.to(tl.float32)
    return tl.dot(a, b, y, input_precision="ieee")
'''
_TO_F8 = '''

@triton.jit
def to_f8(x):
    """Float32 of up to 448 to 8-bit floats, half to even; as to_bf16."""
    if INTERPRETED:
        bits = x.to(tl.int32, bitcast=True)
        near = ((bits + 524287 + ((bits >> 20) & 1)) & -1048576).to(tl.float32, bitcast=True)
        near = tl.where(tl.abs(x) < 0.015625, (x + 24576.0) - 24576.0, near)
        x = tl.where(x == x, near, x)
    return x.to(tl.float8e4nv)
'''
_TO_TF32 = '''

@triton.jit
def to_tf32(x):
    """Round float32 to the 10 fraction bits of tf32, ties away from zero; not what is none."""
    bits = x.to(tl.int32, bitcast=True)
    near = ((bits + 4096) & -8192).to(tl.float32, bitcast=True)
    return tl.where(tl.abs(x) < float("inf"), near, x)
'''
# what each part of the text defines
HELPERS = (
    (("INTERPRETED",), _INTERPRETED),
    (("to_bf16", "dot_bf16"), _TO_BF16),
    (("to_f8",), _TO_F8),
    (("to_tf32",), _TO_TF32),
)


def dot(kernel: Product) -> tuple[str, ...]:
    """Add a tile of `a` times a tile of `b` to `y`."""
    match kernel.operand:
        case "i8":
            return ("y = tl.dot(a, b, y, out_dtype=tl.int32)",)
        case "tf32":
            # the tensor core cuts off the bits that it does not take
            rounded = "a = to_tf32(a)", "b = to_tf32(b)"
            return (*rounded, 'y = tl.dot(a, b, y, input_precision="tf32")')
        case "bf16":
            return ("y = dot_bf16(a, b, y)",)
        case "f8E4M3FN":
            # a Hopper tensor core sums 8-bit floats with some 14 bits (DeepSeek-AI,
            # "DeepSeek-V3 Technical Report", 2024, 3.3.2): so no more than a tile's products
            return (f"y = tl.dot(a, b, y, max_num_imprecise_acc={kernel.tile.k})",)
        case _:
            return ('y = tl.dot(a, b, y, input_precision="ieee")',)


def nothing(dtype: str, value: int) -> str:
    """What a load gives outside the matrix; Triton makes no 8-bit float of an integer."""
    return f"{value}.0" if dtype.startswith("f8") else str(value)


def narrowed(operand: str, text: str, held: str) -> str:
    """Numbers of a type in the one that the multipliers take."""
    if held == operand:
        return text
    wide = text if held == "f32" else f"{text}.to(tl.float32)"
    match operand:
        case "f32":
            return wide
        case "tf32" | "bf16":
            return f"to_{operand}({wide})"
        case _:
            return f"{text}.to({TYPES[operand]})"


def added(operand: str, a: str, b: str, y: str) -> str:
    """A product of tiles that is added to `y`."""
    if operand == "bf16":
        return f"dot_bf16({a}, {b}, {y})"
    precision = "tf32" if operand == "tf32" else "ieee"
    return f'tl.dot({a}, {b}, {y}, input_precision="{precision}")'
