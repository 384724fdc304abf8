"""Machine code ahead of time, judged: PTX and cubins, and a table of what they take."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from importlib.util import find_spec

from tetrapla.backends.gpu.triton.compiler import Code, compiled
from tetrapla.backends.gpu.triton.functions import Function, functions
from tetrapla.backends.gpu.triton.source import MANIFEST
from tetrapla.backends.target_ import Ahead, Lowered
from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.gpu.program import Program
from tetrapla.simulators.gpu.spec import Block, GpuSpec
from tetrapla.simulators.gpu.workspace import check_fits
from tetrapla.simulators.report import InternalError
from tetrapla.simulators.spec_ import chips, load_spec

# those of the shipped chips that Triton 3.9 makes code for; it states support from sm_80 on
ARCHITECTURES = (
    *("sm_70", "sm_75", "sm_80", "sm_86", "sm_89", "sm_90", "sm_100"),
    "gfx942",
)
# Triton's own refusal of its type fp8e4nv
_WITHOUT_FP8 = ("sm_70", "sm_75", "sm_80", "sm_86")
# without tensor cores Triton 3.9 writes out a product of floats, but fails at one of integers
# ("PassManager::run failed"), whatever the tile
_WITHOUT_INT8 = ("sm_70", "sm_75")
_INTEGER_DOT = "out_dtype=tl.int32)"
# a chip that has each, for what a program instance may take
CHIPS = dict(zip(ARCHITECTURES, "v100 t4 a100 a40 l4 h100 b200 mi300x".split(), strict=True))
HEADINGS = (
    *("kernel", "launches", "architecture", "warps", "registers", "shared memory", "spills"),
    "instructions",
)
NO_TRITON, NO_INT8 = "triton is not installed", "Triton has no int8 products for "
# out of a reason that begins so
_WAYS = {
    NO_TRITON: "; pip install 'tetrapla[gpu]'",
    NO_INT8: "; --emit cuda-c writes kernels that need no Triton",
}
# what is made of fused multiply-adds, or is one: products of floats and Triton's functions
_FUSED = (
    'input_precision="',
    "dot_bf16(",
    "tl.fma(",
    *(f"tl.{name}(" for name in ("exp", "exp2", "log", "log2", "sin", "cos", "erf")),
)


def ahead(
    lowered: Lowered[Program],
    spec: GpuSpec,
    files: Mapping[str, str | bytes],
    architectures: Sequence[str] | None,
) -> Ahead:
    """Compile a plan's kernels for GPUs.

    Args:
        lowered: the plan.
        spec: the chip, whose own architecture is meant where none is named.
        files: the sources; the manifest among them is completed.
        architectures: of `ARCHITECTURES`, or None.

    Raises:
        UnsupportedError: an architecture was named and triton is missing or cannot multiply the
            plan's numbers there, a kernel takes more than a program instance may, or the plan
            does not fit the chip's memory.
        InternalError: Triton refuses a kernel, or fuses where rounding must be exact.
    """
    if architectures and find_spec("triton") is None:
        raise UnsupportedError(
            "--arch needs triton, which is not installed; pip install 'tetrapla[gpu]'"
        )
    check_fits(lowered.program, spec)
    wanted = tuple(dict.fromkeys(architectures or (spec.architecture,)))
    found, launched = functions(lowered.program)
    reason = "" if architectures else _reason(spec, found)
    if reason:
        return _without(files, reason)
    _check_numbers(lowered.program, found, wanted)
    codes = compiled(found, wanted)
    blocks = {name: _block(spec, name) for name in wanted}
    by_name = {function.name: function for function in found}
    for code in codes:
        way = _smaller(spec, code.architecture, blocks[code.architecture])
        judge(code, by_name[code.function], blocks[code.architecture], way)
    made = _completed(files, codes, wanted)
    rows = _rows(codes, by_name, Counter(launched))
    return Ahead(made, tuple(_notes(wanted)), HEADINGS, tuple(rows))


def judge(code: Code, function: Function, block: Block, way: str = "use smaller tiles") -> None:
    """Hold a kernel to what a program instance may take, and to its arithmetic.

    `way` is the way out of too much shared memory.

    Raises:
        UnsupportedError: it takes more shared memory or registers than there are.
        InternalError: rounding that must be exact is fused with an addition.
    """
    named = f"kernel {code.function} for {code.architecture}"
    if code.shared_bytes > block.shared_memory_bytes:
        raise UnsupportedError(
            f"{named} must take at most {block.shared_memory_bytes} bytes of shared memory, "
            f"not {code.shared_bytes}; {way}"
        )
    threads = function.warps * (32 if code.architecture.startswith("sm_") else 64)
    if code.registers * threads > block.registers:
        raise UnsupportedError(
            f"{named} must take at most {block.registers} registers, not {code.registers} in "
            f"each of {threads} threads; use smaller tiles"
        )
    if code.instructions.get("fma.rn.f32") and not any(f in function.text for f in _FUSED):
        raise InternalError(
            f"{named} must round every product before it is added, not hold "
            f"{code.instructions['fma.rn.f32']} fma.rn.f32"
        )


def _completed(
    files: Mapping[str, str | bytes], codes: Sequence[Code], architectures: Sequence[str]
) -> dict[str, str | bytes]:
    """The code's files, and the manifest that tells of them."""
    manifest = json.loads(files[MANIFEST])
    del manifest["code_is_missing"]
    manifest["code"] = {
        "compiler": f"triton {version('triton')}",
        "architectures": list(architectures),
    }
    made: dict[str, str | bytes] = {}
    for code in codes:
        text, binary = _names(code)
        made |= {text: code.text, binary: code.binary}
        held = manifest["functions"][code.function].setdefault("code", {})
        held[code.architecture] = {
            "text": text,
            "binary": binary,
            "registers": code.registers,
            "shared_bytes": code.shared_bytes,
            "spill_bytes": code.spill_bytes,
            "instructions": code.instructions,
        }
    return {**made, MANIFEST: json.dumps(manifest, indent=1) + "\n"}


def _check_numbers(
    program: Program, found: Sequence[Function], architectures: Sequence[str]
) -> None:
    """Refuse architectures that Triton compiles no products of the plan's numbers for.

    Raises:
        UnsupportedError: naming them, the format and those that have it.
    """
    small = any(buffer.dtype.startswith("f8") for buffer in program.buffers)
    whole = _has_integer_dots(found)
    rules = (
        (small, _WITHOUT_FP8, "an fp8 plan", "has such floats"),
        (whole, _WITHOUT_INT8, "a plan of int8 products", "Triton has them for"),
    )
    for holds, without, plan, rule in rules:
        lacking = [name for name in architectures if name in without]
        if holds and lacking:
            others = ", ".join(name for name in ARCHITECTURES if name not in without)
            raise UnsupportedError(
                f"{plan} must be for an architecture that {rule}, {others}, not "
                f"{' and '.join(lacking)}; choose another --arch or --quant"
            )


def _has_integer_dots(found: Sequence[Function]) -> bool:
    return any(_INTEGER_DOT in function.text for function in found)


def _smaller(spec: GpuSpec, architecture: str, block: Block) -> str:
    """How a kernel comes to fit an architecture; on the chip's own nothing but tiles helps."""
    if architecture == spec.architecture:
        return "use smaller tiles"
    return f"plan within it by --set block.shared_memory={block.shared_memory_bytes}B"


def _reason(spec: GpuSpec, found: Sequence[Function]) -> str:
    """Why the chip's own code cannot be made; empty where it can."""
    own = spec.architecture
    if not own:
        return "the chip's YAML names no architecture"
    if own not in ARCHITECTURES:
        return f"{own} is none that Triton compiles for"
    if own in _WITHOUT_INT8 and _has_integer_dots(found):
        return f"{NO_INT8}{own}"
    return NO_TRITON if find_spec("triton") is None else ""


def _without(files: Mapping[str, str | bytes], reason: str) -> Ahead:
    manifest = json.loads(files[MANIFEST])
    manifest["code_is_missing"] = reason
    way = next((way for start, way in _WAYS.items() if reason.startswith(start)), "")
    note = f"no machine code was made, only sources: {reason}{way}"
    return Ahead({MANIFEST: json.dumps(manifest, indent=1) + "\n"}, (note,))


def _block(spec: GpuSpec, architecture: str) -> Block:
    if architecture == spec.architecture:
        return spec.block
    return load_spec(chips()[CHIPS[architecture]], GpuSpec).spec.block


def _names(code: Code) -> tuple[str, str]:
    text, binary = ("ptx", "cubin") if code.architecture[:3] == "sm_" else ("amdgcn", "hsaco")
    stem = f"code/{code.architecture}/{code.function}"
    return f"{stem}.{text}", f"{stem}.{binary}"


def _rows(
    codes: Sequence[Code], functions: Mapping[str, Function], launches: Mapping[str, int]
) -> Iterator[tuple[str, ...]]:
    for code in codes:
        counted = ", ".join(f"{count} {word}" for word, count in code.instructions.items())
        yield (
            code.function,
            str(launches[code.function]),
            code.architecture,
            str(functions[code.function].warps),
            str(code.registers),
            f"{code.shared_bytes} B",
            f"{code.spill_bytes} B",
            counted,
        )


def _notes(architectures: Sequence[str]) -> Iterator[str]:
    old = [name for name in architectures if name in ("sm_70", "sm_75")]
    if old:
        yield (
            f"Triton uses no tensor cores on {' and '.join(old)} and states no support for them"
        )
