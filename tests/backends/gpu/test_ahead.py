"""Generated kernels compiled for sm_90 without a GPU or a driver."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.module import Module

# a process of its own: under its interpreter Triton compiles nothing
SCRIPT = """
import json, sys
from pathlib import Path

folder = Path(sys.argv[1])
sys.path.insert(0, str(folder))
import kernels, run, triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource

TYPES = {"float32": "*fp32", "float16": "*fp16", "int64": "*i64", "int32": "*i32",
         "bool": "*i1", "int8": "*i8"}
held = {**run.WEIGHTS, **run.MEMORY}
for launch in json.loads((folder / "manifest.json").read_text())["launches"]:
    function = getattr(kernels, launch["function"])
    names = zip(function.arg_names, launch["arguments"], strict=True)
    signature = {name: TYPES[held[buffer][0]] for name, buffer in names}
    options = {"num_warps": launch["num_warps"], "enable_fp_fusion": False}
    source = ASTSource(fn=function, signature=signature, constexprs={})
    made = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    assert len(made.asm["cubin"]) > 1000
    print(launch["function"], made.metadata.shared, "fma.rn.f32" in made.asm["ptx"])
"""


def several() -> Module:
    """A row with a sum, a chain of moves and functions, indices, truths and a scatter."""
    build = ModuleBuilder("several")
    x, ids = build.input("x", (7, 130)), build.input("ids", (5, 1), "i64")
    h = build.op("nn.gelu", [x], {"approximate": "tanh"}, "gelu")
    h = build.op("nn.transpose", [h], {"perm": (1, 0)}, "turn")
    build.output("a", build.op("nn.softmax", [h], {"axis": 0}, "softmax"))
    flat = build.op("nn.reshape", [ids], {"shape": (5,)}, "flat")
    rows = build.op("nn.gather", [x, flat], {"axis": 0}, "gather")
    build.output("b", build.op("nn.scatter_nd", [x, ids, rows], {"reduction": "add"}, "put"))
    truth = build.op("nn.greater", [x, build.op("nn.erf", [x], {}, "erf")], {}, "above")
    build.output("c", truth)
    build.output("d", build.op("nn.arg_max", [x], {"axis": 1, "keepdims": 0}, "best"))
    build.output("e", build.op("nn.round", [x], {}, "round"))
    build.output("f", build.op("nn.reduce_prod", [x], {"axes": (1,), "keepdims": 0}, "prod"))
    return build.finish()


def test_generated_kernels_compile_ahead_of_time(tmp_path: Path) -> None:
    pytest.importorskip("triton", reason="the kernels are compiled by Triton")
    program = plan(several(), "fp16")
    for name, text in sources(program).items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    environment = {**os.environ, "TRITON_CACHE_DIR": str(tmp_path)}
    environment.pop("TRITON_INTERPRET", None)
    command = [sys.executable, "-P", "-c", SCRIPT, str(tmp_path)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [line.split() for line in done.stdout.splitlines()]
    assert [name for name, _, _ in lines] == [
        kernel.name.replace(".", "_") for kernel in program.kernels
    ]
    for name, shared, fused in lines:
        # 227 KiB a block on sm_90; a fused multiply-add would round in another way
        assert int(shared) <= 232_448, name
        # the exponential, logarithm and error function of Triton's own library are made of them
        assert fused == "False" or name in ("softmax", "above"), name
