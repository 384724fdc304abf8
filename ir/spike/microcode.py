"""Programs of a neuron: a text of a few instructions, and what they do to numbers.

A line is an instruction, in the order of a timestep; ``#`` begins a remark::

    states v, h                  what a neuron remembers; the first is its voltage
    parameters tau, theta        operands of its operator, in order
    away = sub current v         current arrives; a name is set anew as often as one likes
    step = div away tau
    v = add v step               a state keeps what it has at the end
    spike = gt v theta           1 or 0; what it is at the end, up to 127, is sent
    v = select spike 0 v

Numbers are f32, or 64-bit integers that wrap: ``shift x 40`` and ``shift x -40`` wrap at 24
bits, min and max saturate. Operands are names and literals; ``shift x n`` takes a literal.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from types import MappingProxyType
from typing import Final, NamedTuple

import numpy as np

from tetrapla.ir.errors import IRError, nearest
from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import kept

MOST = 64  # instructions of a timestep, assumed: a neuron that a core updates in microseconds
CURRENT, SPIKE = "current", "spike"
_NAME = re.compile(r"[a-z_][a-z0-9_]*\Z")


class Instruction(NamedTuple):
    """``target = op operands``; an operand is a name or a number."""

    target: str
    op: str
    operands: tuple[str | float, ...]


class Code(NamedTuple):
    """A program that has been read."""

    states: tuple[str, ...]
    parameters: tuple[str, ...]
    instructions: tuple[Instruction, ...]


def _select(truth: Array, a: Array, b: Array) -> Array:
    return np.where(truth != 0, a, b)


def _shift(x: Array, n: Array) -> Array:
    by = int(n)
    return x << by if by >= 0 else x >> -by


_BOTH: Mapping[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "min": np.minimum,
    "max": np.maximum,
    "gt": np.greater,
    "ge": np.greater_equal,
    "select": _select,
}
# by whether numbers are integers
OPS: Final[Mapping[bool, Mapping[str, Callable[..., Array]]]] = MappingProxyType(
    {
        False: {**_BOTH, "div": np.divide},
        True: {**_BOTH, "shift": _shift, "decay": kept},
    }
)


@cache
def code(text: str, whole: bool) -> Code:
    """Read a program.

    Args:
        text: see above.
        whole: whether its numbers are integers.

    Raises:
        IRError: a line is none, names what is not there, or there is no spike.
    """
    heads: dict[str, tuple[str, ...]] = {"states": (), "parameters": ()}
    known: set[str] = {CURRENT}
    made: list[Instruction] = []
    for number, line in enumerate(text.split("\n"), 1):
        words = line.partition("#")[0].strip()
        head, _, rest = words.partition(" ")
        try:
            if head in heads and "=" not in words:
                heads[head] = _names(rest, known, heads[head])
                known.update(heads[head])
            elif words:
                fixed = {CURRENT, *heads["parameters"]}
                made.append(_instruction(words, known, fixed, whole))
                known.add(made[-1].target)
        except IRError as error:
            raise IRError(f"line {number}, '{words}', {error}") from None
    if not heads["states"]:
        raise IRError("a line of states must name at least one, not none; begin 'states v'")
    if SPIKE not in known:
        raise IRError("a line must set spike, not none; end with 'spike = gt v theta'")
    if len(made) > MOST:
        raise IRError(f"there must be at most {MOST} instructions, not {len(made)}")
    return Code(heads["states"], heads["parameters"], tuple(made))


def step(held: Code, state: Array, current: Array, parameters: Sequence[Array]) -> Array:
    """One timestep: `state` [states, ...] is written, the spikes come back as i8."""
    whole = state.dtype.kind == "i"
    ops, dtype = OPS[whole], state.dtype
    found = dict(zip(held.states, (row.copy() for row in state), strict=True))
    found[CURRENT] = current.astype(dtype)
    found |= {k: a.astype(dtype) for k, a in zip(held.parameters, parameters, strict=True)}
    for target, op, operands in held.instructions:
        given = (found[x] if isinstance(x, str) else np.asarray(x, dtype) for x in operands)
        found[target] = np.asarray(ops[op](*given)).astype(dtype)
    for row, name in zip(state, held.states, strict=True):
        row[...] = found[name]
    spikes = found[SPIKE]
    sent = np.where(spikes > 0, np.minimum(spikes, 127), 0)  # what is no number is no spike
    return np.broadcast_to(sent, state.shape[1:]).astype(np.int8)


def _names(text: str, known: set[str], before: tuple[str, ...]) -> tuple[str, ...]:
    names = tuple(each.strip() for each in text.split(","))
    for each in names:
        if not _NAME.match(each) or each in OPS[True] or each == SPIKE:
            raise IRError(f"must list names of small letters and digits, not '{each}'")
        if each in known or names.count(each) > 1 or before:
            raise IRError(f"must name each thing once, not '{each}' again")
    return names


def _instruction(words: str, known: set[str], fixed: set[str], whole: bool) -> Instruction:
    target, equals, rest = (part.strip() for part in words.partition("="))
    op, *operands = rest.split() or [""]
    if not equals or not _NAME.match(target):
        raise IRError("must be 'name = op operands', states or parameters")
    if target in fixed:
        raise IRError(f"must not set '{target}', which arrives; take another name")
    ops = OPS[whole]
    if op not in ops:
        kind = "integers" if whole else "floats"
        raise IRError(
            f"must use an instruction for {kind}, {', '.join(ops)}, not '{op}'"
            f"{nearest(op, ops)}"
        )
    count = 3 if op == "select" else 2
    if len(operands) != count:
        raise IRError(f"must have {count} operands, not {len(operands)}")
    given = tuple(_operand(each, known, whole) for each in operands)
    if op == "shift" and not (isinstance(given[1], int) and -63 <= given[1] <= 63):
        raise IRError(f"must shift by a literal in -63..63, not '{operands[1]}'")
    return Instruction(target, op, given)


def _operand(text: str, known: set[str], whole: bool) -> str | float:
    if text in known:
        return text
    try:
        number = int(text) if whole else float(text)
    except ValueError:
        kind = "an integer" if whole else "a number"
        raise IRError(
            f"must take {kind} or what is set above, not '{text}'{nearest(text, known)}"
        ) from None
    if whole and not -(2**63) <= number < 2**63:
        raise IRError(f"must take a number of 64 bits, not '{text}'")
    return number
