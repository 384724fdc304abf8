"""Compiling a float model for this computer through upstream MLIR: a second oracle.

It shares no arithmetic with the interpreter: `nn` becomes linalg, MLIR's own passes make
loops of it, LLVM machine code. The bindings' compiler is imported when it is first asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Value
from tetrapla.ir.lower_linalg import lowered, weights
from tetrapla.ir.mlir import compiled
from tetrapla.ir.module import Module

PIPELINE = (
    "builtin.module(linalg-fuse-elementwise-ops,canonicalize,cse,"
    "empty-tensor-to-alloc-tensor,one-shot-bufferize{bufferize-function-boundaries "
    "function-boundary-type-conversion=identity-layout-map},"
    "buffer-results-to-out-params{modify-public-functions=true},"
    "func.func(convert-linalg-to-loops),lower-affine,convert-scf-to-cf,"
    "expand-strided-metadata,lower-affine,convert-arith-to-llvm,convert-math-to-llvm,"
    "convert-to-llvm,reconcile-unrealized-casts)"
)


def jit(module: Module) -> Callable[[Mapping[str, Array]], dict[str, Array]]:
    """The function of a model for one invocation, as `interpret.evaluate` but compiled.

    The function takes one array per input and returns the outputs by name; it keeps a
    reference to the weights.

    Raises:
        UnsupportedError: an operator has no lowering, or a value is empty or not f32 or f64.
        ModelError: the module is shape-only.
    """
    if module.shape_only:
        raise ModelError(f"model '{module.name}' is shape-only and has no values to compute")
    graph = module.graph
    invoke = compiled(lowered(graph), PIPELINE)
    held = [np.require(graph.weight(value), requirements="C") for value in weights(graph)]

    def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted = [name for name, _ in graph.inputs]
        if set(wanted) != set(inputs):
            raise ModelError(f"inputs must be named {wanted}, not {sorted(inputs)}")
        given = [_checked(name, value, inputs[name]) for name, value in graph.inputs]
        made = [np.empty(value.shape, DTYPES[value.dtype]) for _, value in graph.outputs]
        invoke([*given, *held, *made])
        return {name: array for (name, _), array in zip(graph.outputs, made, strict=True)}

    return call


def _checked(name: str, value: Value, array: Array) -> Array:
    if array.shape != value.shape or array.dtype != DTYPES[value.dtype]:
        raise ModelError(
            f"input '{name}' must be {DTYPES[value.dtype]} of shape {value.shape}, "
            f"not {array.dtype} of shape {array.shape}"
        )
    return np.require(array, requirements="C")  # keeps rank 0, unlike ascontiguousarray
