"""What computes a model's outputs: the interpreter, or the model compiled for this computer."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tetrapla.ir.errors import RegistryError, nearest
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module

ENGINES = ("numpy", "jit")


def outputs(
    engine: str,
    module: Module,
    inputs: Mapping[str, Array],
    progress: Callable[[int], None] | None = None,
) -> dict[str, Array]:
    """The outputs of many invocations: arrays of shape (invocations, *static shape).

    Args:
        engine: "numpy", the reference interpreter, or "jit", machine code by MLIR and LLVM.
        module: with its weights.
        inputs: one array per input, of shape (invocations, *static shape).
        progress: called with 1 after each invocation.

    Raises:
        RegistryError: there is no such engine.
        ModelError: the inputs do not fit the model.
        UnsupportedError: the engine cannot do an operator.
    """
    match engine:
        case "numpy":
            from tetrapla.ir.interpret import evaluate_many

            return evaluate_many(module, inputs, progress)
        case "jit":
            from tetrapla.ir.jit import evaluate_many

            return evaluate_many(module, inputs, progress)
        case _:
            there = ", ".join(ENGINES)
            raise RegistryError(
                f"no engine '{engine}'{nearest(engine, ENGINES)}; there are: {there}"
            )
