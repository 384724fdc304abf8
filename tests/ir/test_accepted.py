"""What `infer` accepts, `evaluate` computes: operands near an operator's example."""

from __future__ import annotations

from math import prod

import numpy as np
import pytest

from tetrapla.ir.errors import IRError, ModelError
from tetrapla.ir.graph import DTYPES, Array, Attribute
from tetrapla.ir.op import OPS, Tensor, arity, inferred

TRIALS = 200
MOST = 2**20  # elements of a result that is computed, so that no trial takes long
DTYPES_TRIED = tuple(DTYPES)
SIZES = (0, 0, 1, 1, 2, 3, 5, 16)
INTEGERS = (0, 1, -1, 2, -2, 3, 4, 8, 32, 2**31, 2**62, -(2**62))
REALS = (0.0, -0.0, -1.0, 1e-5, 1e30, float("nan"), float("inf"), float("-inf"))
WITH_EXAMPLE = sorted(kind for kind, op in OPS.items() if op.example is not None)

Types = tuple[Tensor, ...]


def varied(draw: np.random.Generator, types: Types) -> Types:
    """All operands of the first one's type in another, or with another size; or one changed."""
    dtype, size = str(draw.choice(DTYPES_TRIED)), int(draw.choice(SIZES))
    match int(draw.integers(5)):
        case 0:
            return types
        case 1:
            own = types[0].dtype
            return tuple(t._replace(dtype=dtype) if t.dtype == own else t for t in types)
        case 2:
            there = [n for t in types for n in t.shape] or [0]
            old = int(draw.choice(there))
            return tuple(
                t._replace(shape=tuple(size if n == old else n for n in t.shape)) for t in types
            )
        case 3:
            at = int(draw.integers(len(types)))
            axes = list(types[at].shape)
            axes[int(draw.integers(len(axes) + 1)) :] = [size] * int(draw.integers(2))
            return (*types[:at], Tensor(tuple(axes), types[at].dtype), *types[at + 1 :])
        case _:
            return tuple(Tensor((), t.dtype) for t in types)


def changed(draw: np.random.Generator, value: Attribute) -> Attribute:
    """An attribute of the same kind."""
    if isinstance(value, int):
        return INTEGERS[int(draw.integers(len(INTEGERS)))]
    if isinstance(value, float):
        return REALS[int(draw.integers(len(REALS)))]
    if isinstance(value, str) or not value:
        return value
    if draw.random() < 0.5:
        return value[:-1] if draw.random() < 0.5 else ()
    at = int(draw.integers(len(value)))
    return (*value[:at], INTEGERS[int(draw.integers(len(INTEGERS)))], *value[at + 1 :])


def array(draw: np.random.Generator, type_: Tensor) -> Array:
    """Numbers of either sign, and in floats one that is special."""
    made = np.asarray(np.rint(draw.normal(size=type_.shape) * 4))
    if type_.dtype in ("f64", "f32", "f16", "bf16"):
        made.reshape(-1)[:1] = REALS[int(draw.integers(len(REALS)))]
    elif type_.dtype == "i1":
        made = made > 0
    elif type_.dtype[0] == "u":
        made = np.abs(made)
    with np.errstate(over="ignore"):
        return made.astype(DTYPES[type_.dtype])


def fault(draw: np.random.Generator, kind: str) -> str | None:
    """What is wrong with one trial; None where `infer` refuses it or all is well."""
    given, held = OPS[kind].example or ((), {})
    fewest, _ = arity(OPS[kind])
    types = varied(draw, given)[: int(draw.integers(fewest, len(given) + 1))]
    attributes = {k: changed(draw, v) if draw.random() < 0.2 else v for k, v in held.items()}
    try:
        expected = inferred(kind, types, attributes)
    except IRError:
        return None
    if any(prod(type_.shape) > MOST for type_ in expected):
        return None
    operands = [array(draw, type_) for type_ in types]
    try:
        with np.errstate(all="ignore"):
            made = OPS[kind].evaluate(*operands, **attributes)
    except ModelError:  # of data that no type can refuse (an index)
        return None
    results = made if isinstance(made, tuple) else (made,)
    for type_, result in zip(expected, results, strict=True):
        wanted = np.ndarray, type_.shape, DTYPES[type_.dtype]
        if (type(result), result.shape, result.dtype) != wanted:
            return f"{types} {attributes}: {type_} is {type(result)} {result.shape}"
    return None


@pytest.mark.parametrize("kind", WITH_EXAMPLE)
def test_what_is_accepted_is_computed(kind: str) -> None:
    draw = np.random.default_rng(sum(map(ord, kind)))
    assert [found for _ in range(TRIALS) if (found := fault(draw, kind))] == []


def test_a_transposed_number_has_no_axes() -> None:
    made = OPS["nn.transpose"].evaluate(np.ones((), np.float32), perm=())
    assert np.shape(made) == ()  # NumPy's contiguous arrays have one at least
