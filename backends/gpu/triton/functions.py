"""The Triton functions of a plan: one per distinct kernel, however often it is launched.

A kernel's text names its arguments by what they are to it (``a_ptr``, ``bias_ptr``), never by
the plan's buffers, so that kernels of one shape have one text.
"""

from __future__ import annotations

import keyword
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tetrapla.backends.gpu.text import kind, roles, stem, summary
from tetrapla.backends.gpu.triton.dots import HELPERS as FORMATS
from tetrapla.backends.gpu.triton.kernels import body
from tetrapla.backends.gpu.triton.recurrent import HELPERS as ACTIVATIONS
from tetrapla.backends.gpu.triton.text import Writer
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import Kernel, Product
from tetrapla.simulators.gpu.program import Buffer, Program
from tetrapla.simulators.gpu.recurrent import Recurrent

HEAD = """import triton
import triton.language as tl
"""
# what kernels call: the names that each part defines, and its text
_HELPERS = (
    *FORMATS,
    *ACTIVATIONS,
    (
        ("to_integers",),
        '''

@triton.jit
def to_integers(y, low: tl.constexpr, high: tl.constexpr, zero_point: tl.constexpr):
    """Clamp float32, round half to even (1.5 * 2^23 leaves an integer), add the zero point."""
    y = tl.minimum(tl.maximum(y, low), high)
    y = (y + 12582912.0) - 12582912.0
    return y.to(tl.int32) + zero_point
''',
    ),
    (
        ("to_even",),
        '''

@triton.jit
def to_even(x):
    """Round float32 half to even: 2^23 leaves an integer, and is one already."""
    size = tl.abs(x)
    whole = (size + 8388608.0) - 8388608.0
    return tl.where(size < 8388608.0, tl.where(x < 0.0, -whole, whole), x)
''',
    ),
    (
        ("times",),
        '''

@triton.jit
def times(a, b):
    """The product of two."""
    return a * b
''',
    ),
)
STAGES = 3  # of loads in flight, where a kernel does not say
_TAKEN = ("tl", "triton", "float", "range", *(name for names, _ in _HELPERS for name in names))


@dataclass(frozen=True)
class Function:
    """A kernel's text.

    Attributes:
        name: of the function.
        text: its definition.
        dtypes: of what its arguments point at, in order.
        warps: of a program instance.
        stages: of the loop's loads.
    """

    name: str
    text: str
    dtypes: tuple[str, ...]
    warps: int
    stages: int

    @property
    def content(self) -> object:
        """All but its name, in which two plans may differ by a number."""
        written = self.text.partition("(")[2]
        return written, self.dtypes, self.warps, self.stages

    @property
    def module(self) -> str:
        """A file that has it alone, with what it calls."""
        return HEAD + helpers([self.text]) + self.text


def helpers(texts: Sequence[str]) -> str:
    """The definitions that functions call, and what those call."""
    called = "".join(texts)
    used: list[str] = []
    for names, text in reversed(_HELPERS):  # a part calls what stands before it
        if any(re.search(rf"\b{name}\b", called) for name in names):
            used.append(text)
            called += text
    return "".join(reversed(used))


def functions(program: Program) -> tuple[tuple[Function, ...], tuple[str, ...]]:
    """The functions in the order of their first launch, and by kernel the name of its own."""
    memory = program.memory
    found: dict[object, Function] = {}
    used: set[str] = {*_TAKEN}
    launched: list[str] = []
    for kernel in program.kernels:
        listed, lines = _written(kernel, memory)
        dtypes = tuple(memory[name].dtype for name in arguments(kernel))
        key = (listed, lines, dtypes, warps(kernel), stages(kernel))
        if key not in found:
            name = _free(stem(kernel), used)
            text = f"\n\n@triton.jit\ndef {name}({listed}):\n{lines}\n"
            found[key] = Function(name, text, dtypes, warps(kernel), stages(kernel))
        launched.append(found[key].name)
    return tuple(found.values()), tuple(launched)


def arguments(kernel: Kernel) -> tuple[str, ...]:
    """The buffers that a launch passes, in order: what it reads, then what it stores."""
    return (*kernel.reads, *kernel.writes)


def warps(kernel: Kernel) -> int:
    """Warps of a program instance: a product's own, 8 where others hold much."""
    if isinstance(kernel, Product):
        return kernel.tile.warps
    if isinstance(kernel, FusedAttention) and kernel.tile_rows >= 128:
        return 8
    if isinstance(kernel, Recurrent) and kernel.gates == 4:  # so many matrices' tiles at once
        return 8
    return 4


def stages(kernel: Kernel) -> int:
    """Steps of a loop whose loads are on their way at once."""
    return kernel.tile.stages if isinstance(kernel, Product) else STAGES


def _free(name: str, used: set[str]) -> str:
    """A Python name that is not used yet; it is from now on."""
    stem = re.sub(r"\W", "_", name, flags=re.ASCII)
    if not stem or stem[0].isdigit() or keyword.iskeyword(stem):
        stem = f"k_{stem}"
    made, count = stem, 1
    while made in used:
        count += 1
        made = f"{stem}_{count}"
    used.add(made)
    return made


def _written(kernel: Kernel, memory: Mapping[str, Buffer]) -> tuple[str, str]:
    """The list of a kernel's arguments and its lines."""
    passed, used = arguments(kernel), set[str]()
    named = _roles(kernel)
    pointers = {name: f"{_free(named[name], used)}_ptr" for name in passed}
    write = Writer(
        pointers,
        {name: memory[name].dtype for name in passed},
        {name: memory[name].elements for name in passed},
    )
    write(f'"""{summary(kernel, "@")}"""')
    body(kernel, write)
    return ", ".join(pointers[name] for name in passed), "\n".join(write.lines)


def _roles(kernel: Kernel) -> dict[str, str]:
    """By buffer, what it is to the kernel: the first field that holds it."""
    found = roles(kernel)
    parameters: dict[str, str] = {}
    for step in kernel.steps:
        for buffer, role in roles(step).items():
            if buffer in step.buffers:
                parameters.setdefault(buffer, kind(step) if role == "x" else role)
    if isinstance(kernel, FusedAttention):
        found |= kernel.roles
    named = {name: found.get(name, "x") for name in kernel.sources}
    for name in kernel.reads:
        named.setdefault(name, parameters.get(name, found.get(name, "p")))
    stored = [name for name in kernel.writes if name != kernel.output]
    return {**named, kernel.output: "y", **{name: found.get(name, "y") for name in stored}}
