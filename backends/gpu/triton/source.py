"""The files of a compiled plan: Triton kernels, their launcher, and the weights' layout.

`kernels.py` has one function per kernel with its extents written out; `run.py` launches them on
a GPU with torch and triton; `manifest.json` is the plan with the layout of `weights.npz`: one
array per weight buffer, by its name, in the module's own type; the launcher rounds it.
"""

from __future__ import annotations

import json
import keyword
import re
from collections.abc import Mapping, Sequence

from tetrapla.backends.gpu.triton.kernels import body, grid
from tetrapla.backends.gpu.triton.steps import Writer
from tetrapla.ir.graph import DTYPES
from tetrapla.simulators.gpu.kernels import Expression, Kernel, Product
from tetrapla.simulators.gpu.program import Program

_HEAD = '''"""Kernels of {name}, {format}: generated, one function per launch.

Buffers are contiguous; every extent is a constant. Compile with enable_fp_fusion=False: the
integer kernels are exact only where a product is rounded before it is added.
"""

import triton
import triton.language as tl


@triton.jit
def to_integers(y, low: tl.constexpr, high: tl.constexpr, zero_point: tl.constexpr):
    """Clamp float32, round half to even (1.5 * 2^23 leaves an integer), add the zero point."""
    y = tl.minimum(tl.maximum(y, low), high)
    y = (y + 12582912.0) - 12582912.0
    return y.to(tl.int32) + zero_point
'''
_ROUND = '''

@triton.jit
def to_even(x):
    """Round float32 half to even: 2^23 leaves an integer, and is one already."""
    size = tl.abs(x)
    whole = (size + 8388608.0) - 8388608.0
    return tl.where(size < 8388608.0, tl.where(x < 0.0, -whole, whole), x)
'''
_TIMES = '''

@triton.jit
def times(a, b):
    """The product of two."""
    return a * b
'''

_RUN = '''"""Run {name} on a GPU: python run.py --input x.npz -o y.npz (needs torch and triton).

The input file holds one array per input, of its shape or with a leading axis of invocations.
"""

import argparse
import zipfile
from pathlib import Path

import kernels
import numpy as np

FOLDER = Path(__file__).parent
# by name: buffer, shape, type in the file
INPUTS = {inputs}
OUTPUTS = {outputs}
# by buffer: type on the device, elements
WEIGHTS = {weights}
MEMORY = {memory}


def launch(m):
    """Run every kernel; `m` maps a buffer's name to a tensor on the device."""
{launches}

def main():
    """Read, run, write."""
    import torch

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--input", required=True)
    parser.add_argument("-o", "--output", required=True)
    options = parser.parse_args()
    m = {{name: torch.empty(n, dtype=getattr(torch, t), device="cuda")
         for name, (t, n) in MEMORY.items()}}
    with np.load(FOLDER / "weights.npz") as stored:
        for name, (t, n) in WEIGHTS.items():
            m[name] = torch.from_numpy(stored[name].astype(t).reshape(n)).cuda()
    with np.load(options.input) as stored:
        given = {{name: stored[name] for name in INPUTS}}
    rows = {{name: a.reshape(-1, *INPUTS[name][1]) for name, a in given.items()}}
    results = {{name: [] for name in OUTPUTS}}
    for i in range(len(next(iter(rows.values())))):
        for name, (buffer, _, _) in INPUTS.items():
            flat = torch.from_numpy(np.ascontiguousarray(rows[name][i]).reshape(-1))
            m[buffer].copy_(flat)
        launch(m)
        for name, (buffer, shape, t) in OUTPUTS.items():
            results[name].append(m[buffer].cpu().numpy().reshape(shape).astype(t))
    # np.savez takes an output called file for an argument of its own
    with zipfile.ZipFile(options.output, "w") as archive:
        for name, found in results.items():
            with archive.open(name + ".npy", "w", force_zip64=True) as stream:
                np.lib.format.write_array(stream, np.stack(found))


if __name__ == "__main__":
    main()
'''

_HELPERS = {"round": _ROUND, "product": _TIMES}  # by the operation that needs it


def sources(program: Program) -> dict[str, str]:
    """The text of every file; the same program gives the same text."""
    functions = identifiers([kernel.name for kernel in program.kernels], _TAKEN)
    return {
        "kernels.py": _kernels(program, functions),
        "run.py": _run(program, functions),
        "manifest.json": _manifest(program, functions),
    }


_TAKEN = ("tl", "triton", "to_integers", "to_even", "times", "float", "range")


def identifiers(names: Sequence[str], taken: Sequence[str] = ()) -> dict[str, str]:
    """A Python name for each name, distinct and readable."""
    found: dict[str, str] = {}
    used = set(taken)
    for name in names:
        stem = re.sub(r"\W", "_", name, flags=re.ASCII)
        if not stem or stem[0].isdigit() or keyword.iskeyword(stem):
            stem = f"k_{stem}"
        made, count = stem, 1
        while made in used:
            count += 1
            made = f"{stem}_{count}"
        used.add(made)
        found[name] = made
    return found


def arguments(kernel: Kernel) -> tuple[str, ...]:
    """The buffers that a launch passes, in order: what it reads, then its output."""
    return (*kernel.reads, kernel.output)


def warps(kernel: Kernel) -> int:
    """Warps of a program instance: 8 where a tile has at least 128 x 64 accumulators."""
    if isinstance(kernel, Product) and kernel.tile.m * kernel.tile.n >= 128 * 64:
        return 8
    return 4


def _kernels(program: Program, functions: dict[str, str]) -> str:
    memory = program.memory
    text = [_HEAD.format(name=_quoted(program.name), format=program.format)]
    used = {i.op for k in program.kernels if isinstance(k, Expression) for i in k.code}
    text += [written for op, written in _HELPERS.items() if op in used]
    for kernel in program.kernels:
        passed = arguments(kernel)
        pointers = {n: f"{made}_ptr" for n, made in identifiers(passed).items()}
        write = Writer(
            pointers,
            {name: buffer.dtype for name, buffer in memory.items()},
            {name: buffer.elements for name, buffer in memory.items()},
        )
        write(f'"""{_summary(kernel)}"""')
        body(kernel, write)
        listed = ", ".join(pointers[name] for name in passed)
        text.append(f"\n\n@triton.jit\ndef {functions[kernel.name]}({listed}):\n")
        text.append("\n".join(write.lines) + "\n")
    return "".join(text)


def _summary(kernel: Kernel) -> str:
    steps = "".join(f", {type(step).__name__.lower()}" for step in kernel.steps)
    if not isinstance(kernel, Product):
        return f"{kernel.op}{steps}."
    count, m, n, k = kernel.problem
    return f"{kernel.op}{steps}: {count} x [{m} x {k}] @ [{k} x {n}]."


def _run(program: Program, functions: dict[str, str]) -> str:
    launches = []
    for kernel in program.kernels:
        passed = "".join(f"        m[{name!r}],\n" for name in arguments(kernel))
        options = f"num_warps={warps(kernel)}, num_stages=3, enable_fp_fusion=False"
        called = f"kernels.{functions[kernel.name]}[{grid(kernel)}]"
        launches.append(f"    {called}(\n{passed}        {options},\n    )\n")
    weights = {
        b.name: (_numpy(b.dtype), b.elements) for b in program.buffers if b.role == "weight"
    }
    memory = {
        b.name: (_numpy(b.dtype), b.elements) for b in program.buffers if b.role != "weight"
    }
    return _RUN.format(
        name=_quoted(program.name),
        inputs=_table({p.name: (p.buffer, p.shape, _numpy(p.dtype)) for p in program.inputs}),
        outputs=_table({p.name: (p.buffer, p.shape, _numpy(p.dtype)) for p in program.outputs}),
        weights=_table(weights),
        memory=_table(memory),
        launches="".join(launches) or "    del m\n",
    )


def _manifest(program: Program, functions: dict[str, str]) -> str:
    content = {
        "program": program.to_dict(),
        "weights": {
            "file": "weights.npz",
            "arrays": {
                b.name: {"shape": list(b.shape), "device_dtype": _numpy(b.dtype)}
                for b in program.buffers
                if b.role == "weight"
            },
        },
        "launches": [
            {
                "function": functions[kernel.name],
                "grid": list(grid(kernel)),
                "arguments": list(arguments(kernel)),
                "num_warps": warps(kernel),
            }
            for kernel in program.kernels
        ],
    }
    return json.dumps(content, indent=1) + "\n"


def _numpy(dtype: str) -> str:
    return str(DTYPES[dtype])


def _table(rows: Mapping[str, tuple[object, ...]]) -> str:
    lines = "".join(f"    {name!r}: {row!r},\n" for name, row in rows.items())
    return f"{{\n{lines}}}" if rows else "{}"


def _quoted(name: str) -> str:
    """A model's name that cannot end a docstring."""
    return re.sub(r"[^\w .:+-]", "_", name)
