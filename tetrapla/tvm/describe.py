"""A Relax function as plain data; runs beside TVM, in the child."""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Any

from tetrapla.frontend.relax.calls import (
    Call,
    Composite,
    Const,
    Listed,
    Numbers,
    Operand,
    Ref,
    Region,
    Setting,
    Type,
    Unknown,
)

_NO_TENSOR = Unknown("no tensor of a static shape")


class Describer:
    """One function on its way into plain data."""

    def __init__(self) -> None:
        self._tvm: Any = import_module("tvm")
        self._relax: Any = import_module("tvm.relax")
        self._known: dict[int, Operand] = {}
        self._functions: dict[int, Any] = {}
        self._count = 0

    def region(self, name: str, function: Any) -> Region:
        """A region that MergeCompositeFunctions made."""
        inputs = tuple(self._entered(each) for each in function.params)
        composites: list[Composite] = []
        for binding in self.bindings(function):
            found = self._composite(binding)
            if found is not None:
                composites.append(found)
        result = self.operand(function.body.body)
        outputs = result.items if isinstance(result, Listed) else (result,)
        held = tuple(each for each in inputs if isinstance(each, Ref))
        return Region(name, held, tuple(composites), outputs)

    def calls(self, function: Any) -> Iterator[Call]:
        """Every call of an operator in a function."""
        for each in function.params:
            self._entered(each)
        for binding in self.bindings(function):
            call = self._bound(binding)
            if call is not None:
                yield call

    def alone(self, call: Any) -> Call:
        """One call of an operator, whatever is around it."""
        return self._call(call, call.ty)

    def bindings(self, function: Any) -> Iterator[Any]:
        """The bindings of a function in order."""
        for block in function.body.blocks:
            yield from block.bindings

    def operand(self, told: Any) -> Operand:
        """What an operand is."""
        relax, ir = self._relax, self._tvm.ir
        key = told.__chandle__()
        if key in self._known:
            return self._known[key]
        if isinstance(told, ir.GenericConst):
            return Const(told.value.numpy())
        if isinstance(told, relax.ShapeExpr):
            return _numbers(told.values)
        if isinstance(told, ir.Tuple):
            items = tuple(self.operand(each) for each in told.fields)
            if items and all(isinstance(each, Numbers) for each in items):
                values = [n for each in items if isinstance(each, Numbers) for n in each.values]
                return Numbers(tuple(values))
            return Listed(items)
        if hasattr(told, "value") and isinstance(told.value, int | float):
            return Numbers((told.value,))
        return self._made(told.ty) if isinstance(told, ir.Var) else _NO_TENSOR

    def type_of(self, told: Any) -> Type | None:
        """A tensor's type, where its shape is static."""
        if not isinstance(told, self._relax.TensorType):
            return None
        shape = getattr(told.shape, "values", None)
        if shape is None or not all(isinstance(getattr(n, "value", None), int) for n in shape):
            return None
        return Type(tuple(int(n.value) for n in shape), str(told.dtype))

    def _entered(self, parameter: Any) -> Ref | Unknown:
        made = self._made(parameter.ty)
        self._known[parameter.__chandle__()] = made
        return made

    def _made(self, told: Any) -> Ref | Unknown:
        type_ = self.type_of(told)
        if type_ is None:
            return _NO_TENSOR
        self._count += 1
        return Ref(self._count - 1, type_)

    def _bound(self, binding: Any) -> Call | None:
        """Take one binding; the call of an operator that it holds, if it does."""
        value, ir = binding.value, self._tvm.ir
        key = binding.var.__chandle__()
        call = None
        if isinstance(value, self._relax.Call) and isinstance(value.op, ir.Op):
            call = self._call(value, binding.var.ty)
            several = isinstance(binding.var.ty, ir.TupleType)
            self._known[key] = Listed(call.results) if several else call.results[0]
        elif isinstance(value, ir.TupleGetItem):
            held = self.operand(value.tuple_value)
            items = held.items if isinstance(held, Listed) else ()
            self._known[key] = items[value.index] if items else _NO_TENSOR
        else:
            self._known[key] = self.operand(value)
        return call

    def _call(self, value: Any, type_: Any) -> Call:
        several = isinstance(type_, self._tvm.ir.TupleType)
        results = tuple(self._made(each) for each in (type_.fields if several else [type_]))
        operands = tuple(self.operand(each) for each in value.args)
        name = str(value.op.name).removeprefix("relax.")
        return Call(name, operands, results, settings(value.attrs))

    def _composite(self, binding: Any) -> Composite | None:
        """A call of a composite function, whose body is taken as it stands."""
        value = binding.value
        if isinstance(value, self._relax.Function):
            self._functions[binding.var.__chandle__()] = value
            return None
        inner = None
        if isinstance(value, self._relax.Call):
            inner = self._functions.get(value.op.__chandle__())
        if inner is None:
            self._bound(binding)
            return None
        for parameter, argument in zip(inner.params, value.args, strict=True):
            self._known[parameter.__chandle__()] = self.operand(argument)
        found = [self._bound(each) for each in self.bindings(inner)]
        self._known[binding.var.__chandle__()] = self.operand(inner.body.body)
        calls = tuple(each for each in found if each is not None)
        return Composite(str(inner.attrs["Composite"]), calls)


def settings(attributes: Any) -> dict[str, Setting]:
    """An operator's attributes by name."""
    if attributes is None:
        return {}
    names = [each.name for each in type(attributes).__tvm_ffi_type_info__.fields]
    return {name: _setting(getattr(attributes, name)) for name in names}


def _setting(told: Any) -> Setting:
    if told is None:
        return None
    if isinstance(told, bool | int | float):
        return told
    if isinstance(told, str):
        return str(told)
    if hasattr(told, "value") and isinstance(told.value, int | float):
        return told.value
    if hasattr(told, "__len__"):
        values = [_setting(each) for each in told]
        return tuple(each for each in values if isinstance(each, int | float))
    return str(told)


def _numbers(values: Any) -> Operand:
    found = [getattr(each, "value", None) for each in values]
    if not all(isinstance(each, int) for each in found):
        return Unknown("a shape that is not static")
    return Numbers(tuple(int(each) for each in found if each is not None))
