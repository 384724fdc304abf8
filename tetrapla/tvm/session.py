"""One graph beside TVM: read, cut into regions, run; in the child."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tetrapla.frontend.relax.calls import Kind, Ref, Region
from tetrapla.tvm.describe import Describer
from tetrapla.tvm.partition import is_region, partitioned, regions
from tetrapla.tvm.raised import raised
from tetrapla.tvm.told import Asked, Cut, Graph

Array = NDArray[Any]
_FUNCTION = "tetrapla.region"


class Session:
    """What a child holds between two requests."""

    def __init__(self) -> None:
        self._tvm: Any = import_module("tvm")
        self._relax: Any = import_module("tvm.relax")
        self._module: Any = None
        self._outputs: tuple[str, ...] = ()
        self._machine: Any = None
        self._regions: dict[str, Region] = {}
        self._known: list[tuple[Array, ...]] = []
        self._met = 0
        self._missing: Asked | None = None
        import_module("tvm_ffi").register_global_func(_FUNCTION, self._region, override=True)

    def load_onnx(self, data: bytes, dims: Mapping[str, int], batch: int) -> Graph:
        """Read an ONNX file with TVM's importer."""
        from tetrapla.frontend.relax.onnx_file import relax_module

        found = relax_module(data, dims, batch)
        return self._loaded(found.module, found.inputs, found.outputs)

    def load_relax(self, text: str) -> Graph:
        """Read what ``tvm.ir.save_json`` wrote of a module."""
        return self._loaded(self._tvm.ir.load_json(text), None, None)

    def cut(self, accepted: frozenset[Kind], merge: bool) -> Cut:
        """Make regions of calls of these kinds and prepare the rest to run."""
        cut = partitioned(self._module, accepted, merge)
        found = regions(cut)
        self._regions = {each.name: each for each in found}
        left = self._left(cut)
        for gvar, function in list(cut.functions.items()):
            if is_region(function):
                cut.update_func(gvar, self._handed_over(str(gvar.name_hint), function))
        compiled = self._tvm.compile(cut, target="llvm")
        self._machine = self._relax.VirtualMachine(compiled, self._tvm.cpu())
        return Cut(tuple(found), left)

    def run(
        self, rows: Sequence[Sequence[Array]], known: Sequence[Sequence[tuple[Array, ...]]]
    ) -> list[Asked | tuple[Array, ...]]:
        """Run invocations.

        Args:
            rows: of each one the inputs, in the order of the graph's.
            known: of each one what the regions gave, in the order in which they are met.

        Returns:
            Of each one the outputs, or the first region that is met behind the known ones.
        """
        return [self._run(row, had) for row, had in zip(rows, known, strict=True)]

    def _run(
        self, inputs: Sequence[Array], known: Sequence[tuple[Array, ...]]
    ) -> Asked | tuple[Array, ...]:
        self._known, self._met, self._missing = list(known), 0, None
        given = [self._tvm.runtime.tensor(np.ascontiguousarray(each)) for each in inputs]
        try:
            result = self._machine["main"](*given)
        except Exception:
            waited: Asked | None = self._missing  # set by `_region`, which TVM called
            if waited is None:
                raise
            return waited
        several = [result] if hasattr(result, "numpy") else list(result)
        return tuple(each.numpy() for each in several)

    def _loaded(
        self, module: Any, inputs: tuple[str, ...] | None, outputs: tuple[str, ...] | None
    ) -> Graph:
        passes = self._relax.transform
        if "main" not in [str(each.name_hint) for each in module.get_global_vars()]:
            raise ValueError("the module must have a function 'main', which it has not")
        for each in (raised, passes.FoldConstant(), passes.DeadCodeElimination()):
            module = each(module)
        self._module = module
        main = module["main"]
        describer = Describer()
        calls = tuple(describer.calls(main))
        types = [describer.type_of(each.ty) for each in main.params]
        names = inputs or tuple(str(each.name) for each in main.params)
        held = [Ref(i, type_) for i, type_ in enumerate(types) if type_ is not None]
        if len(held) != len(types):
            raise ValueError("every input of 'main' must be a tensor of a static shape")
        result = main.ret_ty
        count = len(result.fields) if isinstance(result, self._tvm.ir.TupleType) else 1
        self._outputs = outputs or tuple(f"out{i}" for i in range(count))
        return Graph(names, tuple(held), self._outputs, calls)

    def _left(self, cut: Any) -> tuple[str, ...]:
        """The operators that TVM computes, in order."""
        return tuple(call.op for call in Describer().calls(cut["main"]))

    def _handed_over(self, name: str, function: Any) -> Any:
        """A function of the same type that asks the other process for its result."""
        relax = self._relax
        builder = relax.BlockBuilder()
        parameters = [relax.Var(f"p{i}", each.ty) for i, each in enumerate(function.params)]
        type_ = function.ret_ty
        several = isinstance(type_, self._tvm.ir.TupleType)
        with builder.function(name, parameters):
            operands = [self._tvm.ir.StringImm(name), *parameters]
            wanted = list(type_.fields) if several else type_
            call = relax.call_dps_packed(_FUNCTION, operands, wanted)
            builder.emit_func_output(builder.emit(call))
        return builder.get()[name].with_attr("global_symbol", name)

    def _region(self, symbol: Any, *tensors: Any) -> None:
        """What the compiled graph calls for a region: the operands, then places for results."""
        region = self._regions[str(symbol)]
        count = len(region.inputs)
        if self._met == len(self._known):
            arrays = tuple(each.numpy() for each in tensors[:count])
            self._missing = Asked(region.name, arrays)
            raise RuntimeError("a region's result is not known yet")
        for place, array in zip(tensors[count:], self._known[self._met], strict=True):
            place.copyfrom(np.ascontiguousarray(array))
        self._met += 1
