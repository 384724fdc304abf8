"""Operators that TVM's importer wrote as loops, as operators again; runs beside TVM.

ONNX's Clip, Max and paddings arrive as `call_tir` of a function of loops, which no pattern
matches. Here the loops are compared with those that the operator itself would have given, and
replaced by the operator where they are the same; others stay. A padding with zeros in front
of a convolution becomes the convolution's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from importlib import import_module
from typing import Any

LOOPS = ("maximum", "minimum", "pad")


def raised(module: Any) -> Any:
    """The module with operators in place of the loops that they stand for."""
    relax: Any = import_module("tvm.relax")
    functor: Any = import_module("tvm.relax.expr_functor")
    named = import_module("tvm.ir").Op.get
    call_tir, conv2d = named("relax.call_tir"), named("relax.nn.conv2d")

    class Raiser(functor.PyExprMutator):  # type: ignore[misc]  # TVM has no types
        """Every call in order."""

        def visit_call_(self, call: Any) -> Any:
            call = self.visit_expr_post_order(call)
            if call.op == conv2d:
                return _padded(relax, call, self.builder_.lookup_binding)
            if call.op != call_tir:
                return call
            found = _operator(relax, module, call)
            return call if found is None else found

    mutator: Any = functor.mutator(Raiser)(module)
    main = mutator.visit_expr(module["main"])
    mutator.builder_.update_func(module.get_global_var("main"), main)
    return relax.transform.DeadCodeElimination()(mutator.builder_.get())


def _operator(relax: Any, module: Any, call: Any) -> Any:
    """The operator that the called loops stand for; None where they are other loops."""
    gvar, operands = call.args[0], list(call.args[1].fields)
    name = str(gvar.name_hint).rstrip("0123456789_")
    if name not in LOOPS or len(call.args) > 2:
        return None
    topi: Any = import_module("tvm.topi")
    if name in ("maximum", "minimum"):
        same = _same(relax, module[gvar], getattr(topi, name), operands)
        return getattr(relax.op, name)(*operands) if same else None
    for before, after in _paddings(operands[0].ty, call.ty):
        if _same(relax, module[gvar], topi.nn.pad, operands, before, after, 0.0):
            widths = [n for pair in zip(before, after, strict=True) for n in pair]
            return relax.op.nn.pad(operands[0], widths)
    return None


def _padded(relax: Any, call: Any, bound: Callable[[Any], Any]) -> Any:
    """The convolution with the zeros in front of it as its own padding."""
    image = call.args[0]
    front: Any = bound(image) if isinstance(image, relax.Var) else None
    if not isinstance(front, relax.Call) or str(front.op.name) != "relax.nn.pad":
        return call
    widths = [int(n) for n in front.attrs.pad_width]
    held, zeros = call.attrs, front.attrs.pad_mode == "constant" and not front.attrs.pad_value
    if not zeros or any(widths[:4]) or str(held.data_layout) != "NCHW":
        return call
    ours = (widths[4], widths[6], widths[5], widths[7])  # top, left, bottom, right
    padding = [int(n) + more for n, more in zip(held.padding, ours, strict=True)]
    return relax.op.nn.conv2d(
        front.args[0],
        call.args[1],
        strides=held.strides,
        padding=padding,
        dilation=held.dilation,
        groups=int(held.groups),
        data_layout=str(held.data_layout),
        kernel_layout=str(held.kernel_layout),
        out_layout=str(held.out_layout),
        out_dtype=held.out_dtype,
    )


def _paddings(given: Any, made: Any) -> Iterator[tuple[list[int], list[int]]]:
    """The paddings in equal parts, an odd one behind or in front."""
    sizes = [[int(n.value) for n in each.shape.values] for each in (given, made)]
    more = [after - before for before, after in zip(*sizes, strict=True)]
    small, large = [n // 2 for n in more], [n - n // 2 for n in more]
    yield small, large
    yield large, small


def _same(
    relax: Any, loops: Any, function: Callable[..., Any], operands: Sequence[Any], *more: Any
) -> bool:
    """Whether loops are those of a function of TVM's operator library."""
    builder = relax.BlockBuilder()
    parameters = [relax.Var(f"p{i}", each.ty) for i, each in enumerate(operands)]
    with builder.function("main", parameters):
        builder.emit_func_output(builder.emit_te(function, *parameters, *more))
    equal: Any = import_module("tvm_ffi").structural_equal
    others = [f for g, f in builder.get().functions.items() if str(g.name_hint) != "main"]
    return any(equal(each, loops, map_free_vars=True) for each in others)
