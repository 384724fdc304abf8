"""TVM's own code for a model: a library for the CPU, or CUDA text for a GPU.

Our module goes to TVM as ONNX, so what can be compiled is what both can say in it; whatever
else is refused with its name. The library's results are held against the reference
(`judge`); CUDA text is not run here, but made of the module whose CPU results were.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tetrapla.backends.gpu.standalone import standalone
from tetrapla.frontend.onnx.export import export
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array
from tetrapla.ir.module import Module
from tetrapla.passes.pipeline_ import canonical
from tetrapla.simulators.report import CrossCheck, to_json
from tetrapla.tvm.generator import CUDA
from tetrapla.tvm.judge import judged, opened, without_bound
from tetrapla.tvm.pins import PINS
from tetrapla.tvm.process import Child

CPU = "cpu"
INVOCATIONS = 2  # that are checked, assumed: TVM's untuned code is slow
NVCC_LIMIT_S = 300  # assumed
NOT_RUN = "the CUDA text was not run: its module was checked as TVM's code for the CPU"


@dataclass(frozen=True)
class Generated:
    """File contents by name, the check on the CPU, and what a person should know."""

    files: dict[str, str | bytes]
    check: CrossCheck | None
    notes: tuple[str, ...]


def generated(module: Module, target: str, inputs: Mapping[str, Array]) -> Generated:
    """Compile a float module with TVM.

    Args:
        module: as it was read.
        target: `CPU`, or an architecture of CUDA, ``sm_90``.
        inputs: (invocations, *shape) by name, for the check.

    Raises:
        UnsupportedError: ONNX or TVM lacks operators of the module.
        ModelError: TVM is not installed, or there is no such architecture.
    """
    if target != CPU and not target.startswith("sm_"):
        raise ModelError(
            f"TVM's code must be for {CPU} or an NVIDIA architecture, not '{target}'; "
            "leave --codegen out"
        )
    lowered = canonical(module)
    data = export(lowered)
    some = {name: array[:INVOCATIONS] for name, array in inputs.items()}
    with Child("generator") as child, tempfile.TemporaryDirectory() as name:
        library = Path(name) / "model.so"
        code = child.ask("compile_for_cpu", data=data, library=str(library))
        outputs = _run(child, lowered, some)
        check, notes = _checked(child, lowered, some, outputs)
        files: dict[str, str | bytes] = {"model.onnx": data}
        if target == CPU:
            files |= {"model.so": library.read_bytes(), "model.ll": code.text}
        else:
            code = child.ask("compile_for_cuda", data=data, arch=target)
            more, note = _machine_code(code.text, target)
            files |= {"kernels.cu": code.text, **more}
            notes = (*notes, note, NOT_RUN)
    files["relax.txt"] = code.relax
    files |= standalone(Path(__file__).with_name("launcher.py"))
    files["manifest.json"] = to_json(_manifest(lowered, target, check, notes))
    return Generated(files, check, notes)


def _run(child: Child, module: Module, inputs: Mapping[str, Array]) -> list[Array]:
    """What the child's library gives, (invocations, *shape) each."""
    columns = [inputs[name] for name in module.inputs]
    rows: Sequence[tuple[Array, ...]] = child.ask(
        "run", rows=[list(row) for row in zip(*columns, strict=True)]
    )
    found = zip(*rows, strict=True)
    values = module.outputs.values()
    return [
        np.stack(column).reshape(-1, *value.shape)
        for column, value in zip(found, values, strict=True)
    ]


def _checked(
    child: Child, module: Module, inputs: Mapping[str, Array], outputs: Sequence[Array]
) -> tuple[CrossCheck | None, tuple[str, ...]]:
    """The verdict on a build that gives every value, and how far the library's are from it."""
    unknown = without_bound(module)
    if unknown:
        return None, (f"TVM's results have no derived bound: {', '.join(unknown)}",)
    every = opened(module)
    child.ask("compile_for_cpu", data=export(every), library=None)
    names = list(every.outputs)
    found = dict(zip(names, _run(child, every, inputs), strict=True))
    values = {value.index: found[name] for name, value in every.outputs.items()}
    check, where = judged(every, inputs, values)
    pairs = [
        (held, values[value.index])
        for held, value in zip(outputs, module.outputs.values(), strict=True)
        if value.index in values
    ]
    away = max((_distance(*pair) for pair in pairs), default=0.0)
    return check, (
        f"TVM's code was run on {len(next(iter(inputs.values())))} inputs, operator by "
        f"operator; nearest to its bound: {where}; with operators fused, the outputs are "
        f"{away:.1e} away",
    )


def _distance(found: Array, kept: Array) -> float:
    """The largest difference, over the largest magnitude."""
    wide = kept.astype(np.float64)
    scale = float(np.abs(wide).max(initial=0)) or 1.0
    return float(np.abs(found.astype(np.float64) - wide).max(initial=0)) / scale


def _machine_code(text: str, arch: str) -> tuple[dict[str, bytes], str]:
    """What nvcc makes of the text, where it is; NVRTC lacks headers that the text includes."""
    nvcc = shutil.which("nvcc")
    if nvcc is None:
        return {}, "kernels.cu was not compiled: nvcc is not on the path"
    with tempfile.TemporaryDirectory() as name:
        source, made = Path(name) / "kernels.cu", Path(name) / "kernels.cubin"
        source.write_text(text, "utf-8")
        # TVM declares variables that it does not use
        command = [nvcc, "-cubin", f"-arch={arch}", "-diag-suppress", "177"]
        try:
            done = subprocess.run(
                [*command, "-o", str(made), str(source)],
                capture_output=True,
                text=True,
                check=False,
                timeout=NVCC_LIMIT_S,
            )
        except subprocess.TimeoutExpired:
            return {}, f"kernels.cu was not compiled: nvcc took more than {NVCC_LIMIT_S} s"
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no message"])[-1]
            raise UnsupportedError(f"nvcc refuses TVM's text for {arch}: {last}")
        return {"kernels.cubin": made.read_bytes()}, f"kernels.cu was compiled by nvcc: {arch}"


def _manifest(
    module: Module, target: str, check: CrossCheck | None, notes: Sequence[str]
) -> dict[str, object]:
    return {
        "schema": "tetrapla.tvm/1",
        "model": module.name,
        "tvm": PINS,
        "tvm_target": "llvm" if target == CPU else {"kind": "cuda", "arch": target, **CUDA},
        "inputs": [
            {"name": name, "shape": list(value.shape), "dtype": DTYPES[value.dtype].name}
            for name, value in module.inputs.items()
        ],
        "outputs": list(module.outputs),
        "output_shapes": {name: list(value.shape) for name, value in module.outputs.items()},
        "cross_check": None if check is None else asdict(check),
        "notes": list(notes),
    }
