"""What `compile` writes: the program, the lowered module, its weights, a target's sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tetrapla.archive import npz
from tetrapla.ir.errors import ModelError
from tetrapla.run import Executable
from tetrapla.samples import Samples
from tetrapla.simulators.report import to_json

if TYPE_CHECKING:
    from tetrapla.ir.module import Module


def emitted(executable: Executable, extra: str | None = None) -> dict[str, str | bytes]:
    """File contents by name.

    Args:
        executable: the compiled model.
        extra: "onnx" adds the lowered module in ONNX's own (quantised) operators.

    Raises:
        UnsupportedError: the lowered module has operators that ONNX cannot express.
    """
    lowered = executable.lowered
    contents: dict[str, str | bytes] = {
        "program.txt": lowered.program.text().rstrip("\n") + "\n",
        "program.json": to_json(lowered.program.to_dict()),
        "module.mlir": lowered.module.text(),
        "weights.npz": npz(lowered.module.weights),
    }
    contents.update(executable.sources())
    if extra == "onnx":
        from tetrapla.frontend.onnx.export import export

        contents["model.onnx"] = export(lowered.module)
    return contents


def rewritten(module: Module, name: str, samples: Samples | None) -> Module:
    """The module after one pass, or after the pipeline that every backend starts with.

    Args:
        module: the float model.
        name: a pass, or "canonical".
        samples: with the calibration data of "quantize".

    Raises:
        RegistryError: there is no such pass.
        ModelError: there is no calibration data.
    """
    from tetrapla.passes.pass_ import find, run
    from tetrapla.passes.pipeline_ import canonical, int8

    if name == "canonical":
        return canonical(module)
    chosen = find(name)
    if name != "quantize":
        return run(module, [chosen()])
    # its options are ranges, which come from calibration data
    if samples is None or samples.calibration is None:
        raise ModelError("--after quantize must have calibration data, not none; give --calib")
    return int8(module, samples.calibration)
