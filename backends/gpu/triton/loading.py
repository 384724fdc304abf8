"""Reading what a product multiplies: masks that can fail, and the type that enters."""

from __future__ import annotations

from collections.abc import Mapping

from tetrapla.backends.gpu.triton.dots import nothing
from tetrapla.backends.gpu.triton.text import TYPES, Writer, cast
from tetrapla.simulators.gpu.kernels import Product


def masks(kernel: Product) -> tuple[str, str]:
    """Texts of what lies inside the operands; "" where everything does."""
    _, m, n, k = kernel.problem
    tile = kernel.tile
    row = [f"(row[:, None] < {m})"] if m % tile.m else []
    column = [f"(column[None, :] < {n})"] if n % tile.n else []
    a_step = [f"(step[None, :] < {k})"] if k % tile.k else []
    b_step = [f"(step[:, None] < {k})"] if k % tile.k else []
    return " & ".join(row + a_step), " & ".join(b_step + column)


def load(
    kernel: Product, write: Writer, name: str, buffer: str, offset: str, mask: str, other: int
) -> None:
    """Load an operand in the type that the multipliers take; uint8 is moved down by 128.

    Args:
        kernel: of the operand.
        write: its lines.
        name: a or b.
        buffer: the operand's.
        offset: text of its elements' addresses.
        mask: text of what lies inside; "" for everything.
        other: what stands for the rest.
    """
    held = write.dtypes[buffer]
    masked = f", mask={mask}, other={nothing(held, other)}" if mask else ""
    text = f"tl.load({write.pointers[buffer]} + {offset}{masked})"
    if held == "ui8":
        text = f"({text}.to(tl.int32) - 128)"
        if name == "b" and mask:
            text = f"tl.where({mask}, {text}, 0)"
    wanted = TYPES["f32" if kernel.operand == "tf32" else kernel.operand]
    made = cast(text, kernel.operand) if kernel.operand in TYPES else f"{text}.to({wanted})"
    write(f"{name} = {text}" if TYPES[held] == wanted else f"{name} = {made}")


def zero_points(kernel: Product, dtypes: Mapping[str, str]) -> tuple[int, int]:
    """The zero points of the operands as multiplied, uint8 moved down by 128."""
    if kernel.operand != "i8":
        return 0, 0
    down = [128 if dtypes[name] == "ui8" else 0 for name in (kernel.a, kernel.b)]
    return kernel.a_zero_point - down[0], kernel.b_zero_point - down[1]


def across(text: str) -> str:
    """A vector along the columns of a tile."""
    return f"{text}[None, :]" if text.isidentifier() else f"({text})[None, :]"


def down(text: str) -> str:
    """A vector along the rows of a tile."""
    return f"{text}[:, None]" if text.isidentifier() else f"({text})[:, None]"


def total(*terms: str) -> str:
    """The sum of what is not nothing."""
    return " + ".join(term for term in terms if term and term != "0") or "0"


def times(text: str, factor: int) -> str:
    """A product by a constant; "" where it is 0."""
    if factor in (0, 1):
        return text if factor else ""
    return f"{text} * {factor}" if text.isidentifier() else f"({text}) * {factor}"
