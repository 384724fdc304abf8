"""The door to MLIR's Python bindings: nothing else imports them.

Tries the official package first, then the wheel that carries the same upstream files today.
"""

import ctypes
import importlib
import sys
from collections.abc import Callable, Sequence
from functools import cache
from io import BytesIO
from types import ModuleType
from typing import Any

for ROOT in ("mlir", "torch_mlir"):
    try:
        _ir = importlib.import_module(f"{ROOT}.ir")
        _ext = importlib.import_module(f"{ROOT}.dialects.ext")
        break
    except ImportError:
        continue
else:
    raise ImportError("MLIR's Python bindings are missing; pip install torch-mlir==20261001")
_func = importlib.import_module(f"{ROOT}.dialects.func")
_rewrite = importlib.import_module(f"{ROOT}.rewrite")

ArrayAttr = _ir.ArrayAttr
Attribute = _ir.Attribute
BoolAttr = _ir.BoolAttr
Context = _ir.Context
DenseI32ArrayAttr = _ir.DenseI32ArrayAttr
Dialect = _ext.Dialect
F16Type = _ir.F16Type
F32Type = _ir.F32Type
F64Type = _ir.F64Type
FlatSymbolRefAttr = _ir.FlatSymbolRefAttr
FloatAttr = _ir.FloatAttr
FunctionType = _ir.FunctionType
FuncOp = _func.FuncOp
InsertionPoint = _ir.InsertionPoint
GreedyRewriteConfig = _rewrite.GreedyRewriteConfig
IntegerAttr = _ir.IntegerAttr
IntegerType = _ir.IntegerType
Location = _ir.Location
MLIRError = _ir.MLIRError
Module = _ir.Module
Operand = _ext.Operand
PDLModule = _rewrite.PDLModule
apply_patterns_and_fold_greedily = _rewrite.apply_patterns_and_fold_greedily
Operation = _ir.Operation
OpView = _ext.Operation
Pure = _ext.Pure
Region = _ir.Region
IsIsolatedFromAbove = _ir.IsIsolatedFromAboveTrait
RankedTensorType = _ir.RankedTensorType
Result = _ext.Result
ReturnOp = _func.ReturnOp
StringAttr = _ir.StringAttr
SymbolRefAttr = _ir.SymbolRefAttr
Type = _ir.Type

__all__ = [
    "ArrayAttr",
    "Attribute",
    "BoolAttr",
    "Context",
    "DenseI32ArrayAttr",
    "Dialect",
    "F16Type",
    "F32Type",
    "F64Type",
    "FlatSymbolRefAttr",
    "FloatAttr",
    "FuncOp",
    "FunctionType",
    "GreedyRewriteConfig",
    "InsertionPoint",
    "IntegerAttr",
    "IntegerType",
    "IsIsolatedFromAbove",
    "Location",
    "MLIRError",
    "Module",
    "OpView",
    "Operand",
    "Operation",
    "PDLModule",
    "Pure",
    "RankedTensorType",
    "Region",
    "Result",
    "ReturnOp",
    "StringAttr",
    "SymbolRefAttr",
    "Type",
    "apply_patterns_and_fold_greedily",
    "compiled",
    "context",
    "fingerprint",
    "irdl_of",
    "linalg_of",
    "parse_foreign",
    "passed",
    "stablehlo_results",
]


@cache
def context() -> Context:
    """The one context of the process, with every dialect loaded (loading twice raises)."""
    from tetrapla.ir.dialects import DIALECTS

    made = Context(load_on_create_dialects=["func", "irdl", "tosa"])
    with made, Location.unknown():
        for dialect in DIALECTS:
            dialect.load()
            # the bindings look for a file of this name at every operation they make, half of
            # all time; an empty module ends the search
            place = f"{ROOT}.dialects.{dialect.DIALECT_NAMESPACE}"
            sys.modules.setdefault(place, ModuleType(place))
    return made


def fingerprint(module: Module) -> bytes:
    """MLIR's bytecode: equal for a module and a copy of it, another after any change.

    Several times as fast as its text, and as comparing it with another's.
    """
    stream = BytesIO()
    with context():
        module.operation.write_bytecode(stream)
    return stream.getvalue()


def irdl_of(dialect: type[Dialect]) -> str:
    """The IRDL module that the bindings wrote when they loaded `dialect`."""
    context()
    return str(dialect._mlir_module)


@cache
def _foreign_context() -> Context:
    made = Context()  # its own, without the project's dialects
    importlib.import_module(f"{ROOT}._mlir_libs._stablehlo").register_dialect(made)
    made.allow_unregistered_dialects = True
    return made


def parse_foreign(text: str) -> Module:
    """Read and verify a module of StableHLO or of upstream MLIR's dialects.

    An operation in generic form may be of a dialect that the bindings do not know.
    """
    with _foreign_context(), Location.unknown():
        return Module.parse(text)


def stablehlo_results(text: str, arguments: Sequence[str]) -> list[Any]:
    """What StableHLO's own reference interpreter computes: the results of @main as attributes.

    The arguments are dense attributes as text.
    """
    native = importlib.import_module(f"{ROOT}._mlir_libs._stablehlo")
    with _foreign_context(), Location.unknown():
        given = [Attribute.parse(argument) for argument in arguments]
        return list(native.eval_module(Module.parse(text), given))


def linalg_of(stablehlo_text: str) -> str:
    """StableHLO text as upstream's linalg, by StableHLO's own pass: an oracle of ours."""
    manager = importlib.import_module(f"{ROOT}.passmanager")
    importlib.import_module(f"{ROOT}._mlir_libs._stablehlo").register_stablehlo_passes()
    with _foreign_context(), Location.unknown():
        module = Module.parse(stablehlo_text)
        pipeline = "builtin.module(stablehlo-legalize-to-linalg,canonicalize)"
        manager.PassManager.parse(pipeline).run(module.operation)
        return str(module)


def compiled(text: str, pipeline: str, level: int = 2) -> Callable[[str, Sequence[int]], None]:
    """Run `pipeline` on upstream MLIR and compile its functions, whose arguments are pointers.

    Call one by its name with the addresses of C-contiguous arrays: its arguments, then its
    results. `level` is LLVM's, 0 to 3.
    """
    engine = importlib.import_module(f"{ROOT}.execution_engine")
    with Context(), Location.unknown():  # its own, without the project's dialects
        made = engine.ExecutionEngine(_passed(text, pipeline), opt_level=level)

    def invoke(name: str, addresses: Sequence[int]) -> None:
        held = [ctypes.c_void_p(address) for address in addresses]
        packed = (ctypes.c_void_p * len(held))(*map(ctypes.addressof, held))
        ctypes.CFUNCTYPE(None, ctypes.c_void_p)(made.raw_lookup(name))(packed)

    return invoke


def passed(text: str, pipeline: str) -> str:
    """What `pipeline` makes of a module of upstream MLIR."""
    with Context(), Location.unknown():
        return str(_passed(text, pipeline))


def _passed(text: str, pipeline: str) -> Any:
    manager = importlib.import_module(f"{ROOT}.passmanager")
    module = Module.parse(text)
    manager.PassManager.parse(pipeline).run(module.operation)
    return module
