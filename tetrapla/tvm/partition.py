"""Regions of a Relax module for a code generator of one's own; runs beside TVM, in the child.

TVM's two passes do the work: FuseOpsByPattern makes a composite function of what a pattern
matched, MergeCompositeFunctions makes a region of neighbouring ones.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any

from tetrapla.frontend.relax.calls import Kind, Region, kind_of
from tetrapla.tvm.describe import Describer
from tetrapla.tvm.patterns import CHAINS, name_of

CODEGEN = "tetrapla"


def partitioned(module: Any, accepted: Collection[Kind], merge: bool) -> Any:
    """The module with its regions as functions that have the attribute ``Codegen``.

    Args:
        module: whose function is ``main``.
        accepted: the kinds of the calls that may be offloaded.
        merge: whether neighbours become one region.
    """
    relax: Any = import_module("tvm.relax")
    dpl: Any = import_module("tvm.relax.dpl")
    calls = list(Describer().calls(module["main"]))
    shapes = {(c.op, len(c.operands)) for c in calls if kind_of(c) in accepted}
    ops = {op: arity for op, arity in sorted(shapes)}
    patterns: list[Any] = []
    for chain in CHAINS:
        if all(op in ops for op in chain):
            made, steps = _chain(dpl, chain, ops)
            patterns.append((name_of(chain), made, steps, _check(accepted)))
    for op, arity in sorted(shapes):
        alone = dpl.is_op(f"relax.{op}")(*[dpl.wildcard() for _ in range(arity)])
        patterns.append((name_of((op,)), alone, {}, _check(accepted)))
    fused = relax.transform.FuseOpsByPattern(
        patterns, bind_constants=True, annotate_codegen=not merge
    )(module)
    return relax.transform.MergeCompositeFunctions()(fused) if merge else fused


def regions(module: Any) -> list[Region]:
    """The regions of a module as plain data, in the order in which ``main`` calls them."""
    ir: Any = import_module("tvm.ir")
    found: dict[str, Region] = {}
    for binding in Describer().bindings(module["main"]):
        gvar: Any = getattr(binding.value, "op", None)
        if isinstance(gvar, ir.GlobalVar) and is_region(module[gvar]):
            name = str(gvar.name_hint)
            found.setdefault(name, Describer().region(name, module[gvar]))
    return list(found.values())


def is_region(function: Any) -> bool:
    """Whether a function is one that the target computes."""
    attributes = getattr(function, "attrs", None)
    return attributes is not None and str(attributes.get("Codegen", "")) == CODEGEN


def _chain(dpl: Any, chain: tuple[str, ...], ops: Mapping[str, int]) -> tuple[Any, Any]:
    """A pattern of calls behind one another, and its steps by number."""
    made = dpl.is_op(f"relax.{chain[0]}")(*[dpl.wildcard() for _ in range(ops[chain[0]])])
    steps = {"0": made}
    for i, op in enumerate(chain[1:], 1):
        others = [dpl.is_const() for _ in range(ops[op] - 1)]
        made = dpl.is_op(f"relax.{op}")(made, *others)
        steps[str(i)] = made
    return made, steps


def _check(accepted: Collection[Kind]) -> Callable[[Any], bool]:
    """Whether all the calls of a match may be offloaded, and nothing else reads the inner ones.

    Without it two regions would compute the same value.
    """

    def check(context: Any) -> bool:
        steps = dict(context.annotated_expr.items())
        last = context.matched_expr
        every = [*steps.values()] if steps else [last]
        if any(kind_of(Describer().alone(each)) not in accepted for each in every):
            return False
        inner = [each for each in every if each.__chandle__() != last.__chandle__()]
        return all(_readers(context, each) == 1 for each in inner)

    return check


def _readers(context: Any, value: Any) -> int:
    name = context.value_to_bound_var[value]
    return len(context.var_usages[name])
