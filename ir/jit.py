"""Compiling models for this computer through upstream MLIR: a second oracle.

It shares no arithmetic with the interpreter: the operators become linalg, MLIR's own passes
make loops of it, LLVM machine code. The bindings' compiler is imported when it is first asked
for. Functions of the math dialect end in the C library.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES, Array, Value
from tetrapla.ir.interpret import check_weights, gathered, invocations
from tetrapla.ir.linalg.lower import Function, NodeFunctions, lowered, weights
from tetrapla.ir.mlir import compiled
from tetrapla.ir.module import Module

# element-wise chains are not fused: upstream's pass would put a chain into the loops of the
# product that reads it, and compute it once per column
BUFFERS = (
    "canonicalize,empty-tensor-to-alloc-tensor,"
    "one-shot-bufferize{bufferize-function-boundaries "
    "function-boundary-type-conversion=identity-layout-map},canonicalize,"
    "buffer-results-to-out-params{modify-public-functions=true hoist-static-allocs=true},"
    "buffer-deallocation-pipeline,convert-bufferization-to-memref,"
    "func.func(optimize-allocation-liveness)"
)
# the C library comes before LLVM's own forms, which spell log1p and expm1 as log(1 + x) and
# exp(x) - 1; a pointer alone stands for each tensor, whose shape the function knows
LOOPS = (
    "func.func(convert-linalg-to-loops),lower-affine,convert-scf-to-cf,"
    "expand-strided-metadata,lower-affine,convert-arith-to-llvm,convert-math-to-libm,"
    "convert-math-to-llvm,finalize-memref-to-llvm,"
    "convert-func-to-llvm{use-bare-ptr-memref-call-conv=true},convert-to-llvm,"
    "reconcile-unrealized-casts"
)
PIPELINE = f"builtin.module({BUFFERS},{LOOPS})"

Call = Callable[[Mapping[str, Array]], dict[str, Array]]


def jit(module: Module) -> Call:
    """The function of a model for one invocation, as `interpret.evaluate` but compiled.

    The function takes one array per input and returns the outputs by name; it keeps a
    reference to the weights. It raises ModelError for an input of another name, shape or type,
    and where the data ask for an element that is not there.

    Raises:
        UnsupportedError: an operator has no lowering.
        ModelError: the module is shape-only.
    """
    return jit_all([module])[0]


def jit_all(modules: Sequence[Module], level: int = 2) -> list[Call]:
    """As `jit` for each of several models, which share what their nodes have in common.

    `level` is LLVM's, 0 to 3: 0 compiles in half the time.
    """
    for module in modules:
        check_weights(module)
    shared = NodeFunctions()
    functions = [lowered(m.graph, shared, f"main{i}") for i, m in enumerate(modules)]
    invoke = compiled("".join([shared.text, *(f.text for f in functions)]), PIPELINE, level)
    return [
        _caller(invoke, f"main{i}", module, function)
        for i, (module, function) in enumerate(zip(modules, functions, strict=True))
    ]


def evaluate_many(
    module: Module,
    inputs: Mapping[str, Array],
    progress: Callable[[int], None] | None = None,
) -> dict[str, Array]:
    """As `interpret.evaluate_many`, compiled."""
    count, call = invocations(module, inputs), jit(module)
    rows = ({name: given[i] for name, given in inputs.items()} for i in range(count))
    return gathered(map(call, rows), count, progress)


def _caller(
    invoke: Callable[[str, Sequence[int]], None], name: str, module: Module, function: Function
) -> Call:
    graph = module.graph
    # mapped weights lie anywhere in their file, and machine code may ask for whole words
    held = [np.require(module.weights[s], requirements=["C", "A"]) for s in weights(graph)]

    def call(inputs: Mapping[str, Array]) -> dict[str, Array]:
        wanted = [name for name, _ in graph.inputs]
        if set(wanted) != set(inputs):
            raise ModelError(f"inputs must be named {wanted}, not {sorted(inputs)}")
        given = [_checked(name, value, inputs[name]) for name, value in graph.inputs]
        made = [np.empty(value.shape, DTYPES[value.dtype]) for _, value in graph.outputs]
        faults = [np.zeros((), np.bool_) for _ in function.faults]
        invoke(name, [array.ctypes.data for array in (*given, *held, *made, *faults)])
        for fault, message in zip(faults, function.faults, strict=True):
            if fault:
                raise ModelError(message)
        return {name: array for (name, _), array in zip(graph.outputs, made, strict=True)}

    return call


def _checked(name: str, value: Value, array: Array) -> Array:
    if array.shape != value.shape or array.dtype != DTYPES[value.dtype]:
        raise ModelError(
            f"input '{name}' must be {DTYPES[value.dtype]} of shape {value.shape}, "
            f"not {array.dtype} of shape {array.shape}"
        )
    return np.require(array, requirements="C")  # keeps rank 0, unlike ascontiguousarray
