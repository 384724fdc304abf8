"""What `compile` writes: the program, the lowered module, its weights, a target's sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tetrapla.archive import npz
from tetrapla.run import Executable, samples_for
from tetrapla.simulators.report import to_json

if TYPE_CHECKING:
    from tetrapla.ir.module import Module
    from tetrapla.settings import Settings


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


def rewritten(module: Module, name: str, settings: Settings) -> Module:
    """The module after one pass, or after the pipeline that every backend starts with.

    Raises:
        RegistryError: there is no such pass.
    """
    from tetrapla.passes.pass_ import find, run
    from tetrapla.passes.pipeline_ import canonical, int8

    if name == "canonical":
        return canonical(module)
    chosen = find(name)
    if name == "quantize":  # its options are ranges, which come from calibration data
        samples = samples_for(module, settings)
        return int8(module, samples.calibration or samples.inputs)
    return run(module, [chosen()])
