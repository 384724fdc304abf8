"""StableHLO's loops and branches as regions of `nn`.

A loop that counts in known steps to a known end is nn.scan, as JAX writes lax.scan and
lax.fori_loop. Any other one is nn.while, whose bound is then the largest that the IR has,
2^31 rounds. States that a loop gives back unchanged are no states but values around it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tetrapla.frontend.foreign.operation import ForeignOp
from tetrapla.frontend.foreign.region import Captured, Env, Site, finished, regional
from tetrapla.frontend.foreign.scope import Constant, Operand, Refusal, Scope
from tetrapla.frontend.foreign.walk import Translate
from tetrapla.ir.graph import Array, Attribute, Graph, Value
from tetrapla.ir.nn.region import MOST, MOST_TRIPS

# a comparison of the counter with its end: the sign that makes it "less", and how far the end
# lies behind the last count
_UNTIL: Mapping[str, tuple[int, int]] = {
    "LT": (1, 0),
    "LE": (1, 1),
    "GT": (-1, 0),
    "GE": (-1, 1),
}
_TURNED: Mapping[str, str] = {"LT": "GT", "LE": "GE", "GT": "LT", "GE": "LE"}


@dataclass(frozen=True)
class _Loop:
    """A loop without the states that stay.

    Attributes:
        states: which of the operands change.
        condition: the block that asks whether to go on.
        step: the block that makes the next states.
        site: where it stands, the unchanging arguments included.
    """

    states: tuple[int, ...]
    condition: Any
    step: Any
    site: Site

    def arguments(self, block: Any, operands: Sequence[Operand]) -> dict[Any, Operand]:
        """A block's arguments for the states, and the operands that these begin as."""
        return {block.arguments[i]: operands[i] for i in self.states}


def _while(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    loop = _loop(op)
    trips = _trips(loop, op.operands)
    if trips == 0:
        return op.operands
    if not loop.states:
        raise Refusal("only with a state that changes")
    captured = Captured(loop.site, [loop.condition, loop.step], scope)
    initial = [scope.value(op.operands[i], f"{op.label}_state") for i in loop.states]
    operands = [*initial, *captured.values]
    given, inner = captured.body(loop.step, loop.arguments(loop.step, op.operands), scope)
    step = finished([given[i] for i in loop.states], inner)
    attributes: dict[str, Attribute] = {"carried": len(initial)}
    if trips is not None:
        attributes |= {"scanned": 0, "trips": trips}
        made = _region("nn.scan", op, scope, operands, attributes, [step])
    else:
        asked = loop.arguments(loop.condition, op.operands)
        condition = finished(*captured.body(loop.condition, asked, scope))
        attributes["most"] = MOST_TRIPS
        made = _region("nn.while", op, scope, operands, attributes, [condition, step])
    results = [*op.operands]
    for i, value in zip(loop.states, made, strict=True):
        results[i] = value
    return tuple(results)


def _loop(op: ForeignOp) -> _Loop:
    condition, step = (region.blocks[0] for region in op.handle.regions)
    env = dict(op.site.env)
    states: list[int] = []
    for i, after in enumerate(_last(step).operands):
        if after == step.arguments[i]:
            env[condition.arguments[i]] = env[step.arguments[i]] = op.operands[i]
        else:
            states.append(i)
    return _Loop(tuple(states), condition, step, replace(op.site, env=env))


def _trips(loop: _Loop, operands: Sequence[Operand]) -> int | None:
    """The number of rounds, where a counter goes from a known number to a known end."""
    asked = _maker(_last(loop.condition).operands[0])
    if asked is None or asked.name != "stablehlo.compare":
        return None
    direction = str(asked.attributes["comparison_direction"])[:-1].split()[-1]
    for place, i in ((p, i) for p in (0, 1) for i in loop.states):
        if asked.operands[place] == loop.condition.arguments[i]:
            end = _known(asked.operands[1 - place], loop.site.env)
            step = _step(loop, i)
            turned = direction if place == 0 else _TURNED.get(direction, "")
            if isinstance(operands[i], Constant) and end is not None and turned in _UNTIL:
                return _count(operands[i], end, step, turned)
    return None


def _count(start: Operand, end: int, step: int, direction: str) -> int | None:
    """Rounds until the end is reached; None where the counter would overflow or never come."""
    assert isinstance(start, Constant)
    sign, behind = _UNTIL[direction]
    first, step = int(start.array[()]), sign * step
    way = sign * (end - first) + behind
    if way <= 0:
        return 0
    if step <= 0:
        return None
    trips = -(-way // step)
    last = first + sign * trips * step
    limits = np.iinfo(start.array.dtype)
    return trips if limits.min <= last <= limits.max and trips <= MOST_TRIPS else None


def _step(loop: _Loop, i: int) -> int:
    """What each round adds to a state; 0 where that is not known."""
    made = _maker(_last(loop.step).operands[i])
    if made is None or made.name not in ("stablehlo.add", "stablehlo.subtract"):
        return 0
    a, b = made.operands
    if b == loop.step.arguments[i] and made.name == "stablehlo.add":
        a, b = b, a
    if a != loop.step.arguments[i]:
        return 0
    added = _known(b, loop.site.env) or 0
    return added if made.name == "stablehlo.add" else -added


def _known(value: Any, env: Env) -> int | None:
    """A whole number that is a constant around the loop or in it."""
    held = env.get(value)
    if isinstance(held, Constant):
        return _whole(held.array)
    maker = _maker(value)
    if maker is None or maker.name != "stablehlo.constant":
        return None
    return _whole(np.array(maker.attributes["value"]))


def _whole(array: Array) -> int | None:
    return int(array[()]) if array.shape == () and array.dtype.kind in "iu" else None


def _maker(value: Any) -> Any:
    """The operation that made a value; None of a block's argument."""
    return getattr(value.owner, "operation", None)


def _last(block: Any) -> Any:
    return [*block.operations][-1].operation


def _if(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    then, otherwise = (region.blocks[0] for region in op.handle.regions)
    return _chosen(op, scope, op.operands[0], (then, otherwise))


def _case(op: ForeignOp, scope: Scope) -> tuple[Operand, ...]:
    """The branch of a number, and of any other number the last one."""
    blocks = [region.blocks[0] for region in op.handle.regions]
    number = scope.settled(op.operands[0])
    if isinstance(number, Constant):
        place = int(number.array[()])
        return op.site.inline(blocks[place if 0 <= place < len(blocks) else -1], scope)
    truth = scope.operand_of("nn.cast", number)
    if len(blocks) == 2 and truth is not None and truth.dtype == "i1":
        return _chosen(op, scope, truth, (blocks[1], blocks[0]))
    return _one_of(op, scope, number, blocks)


def _one_of(
    op: ForeignOp, scope: Scope, number: Operand, blocks: Sequence[Any]
) -> tuple[Operand, ...]:
    """Several branches: the last one, unless a number is another one's."""
    if len(blocks) == 1:
        return op.site.inline(blocks[0], scope)
    chosen = _chosen(op, scope, _is(scope, number, 0, op.label), (blocks[0], blocks[-1]))
    for place, block in enumerate(blocks[1:-1], 1):
        # the other branch hands on what was chosen before
        before = {i: scope.value(each) for i, each in enumerate(chosen)}
        captured = Captured(op.site, [block], scope)
        other, inner = captured.entered(before, scope)
        kept = finished([_there(other[i]) for i in before], inner)
        taken = finished(*captured.body(block, before, scope))
        truth = scope.value(_is(scope, number, place, op.label))
        operands = [truth, *before.values(), *captured.values]
        chosen = _region("nn.if", op, scope, operands, {}, [taken, kept])
    return chosen


def _there(operand: Operand | None) -> Operand:
    assert operand is not None
    return operand


def _is(scope: Scope, number: Operand, place: int, name: str) -> Operand:
    wanted = Constant(np.array(place, np.int32))
    return scope.elementwise("nn.equal", [number, wanted], {}, f"{name}_is_{place}")


def _chosen(
    op: ForeignOp, scope: Scope, truth: Operand, blocks: tuple[Any, Any]
) -> tuple[Operand, ...]:
    """One of two blocks, as a truth decides."""
    settled = scope.settled(truth)
    if isinstance(settled, Constant):
        return op.site.inline(blocks[0 if settled.array.all() else 1], scope)
    captured = Captured(op.site, blocks, scope)
    bodies = [finished(*captured.body(block, {}, scope)) for block in blocks]
    operands = [scope.value(settled), *captured.values]
    return _region("nn.if", op, scope, operands, {}, bodies)


def _region(
    kind: str,
    op: ForeignOp,
    scope: Scope,
    operands: Sequence[Value],
    attributes: Mapping[str, Attribute],
    bodies: Sequence[Graph],
) -> tuple[Operand, ...]:
    if len(operands) > MOST:
        raise Refusal(f"only with up to {MOST} values in and out")
    return regional(kind, scope, operands, attributes, bodies, op.label)


OPERATORS: Mapping[str, Translate] = {
    "stablehlo.case": _case,
    "stablehlo.if": _if,
    "stablehlo.while": _while,
}
