"""Every operator that has a lowering: its compiled form against the interpreter's."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, UnsupportedError
from tetrapla.ir.graph import DTYPES, Array, Attribute, Node
from tetrapla.ir.jit import jit
from tetrapla.ir.linalg.lower import LOWERINGS, VIEWS
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS, Tensor

Judge = Callable[..., list[str]]  # modules and their inputs; what is wrong
KINDS = sorted({*LOWERINGS, *VIEWS})

POSITIVE = ("nn.batch_norm", "nn.log", "nn.pow", "nn.sqrt")  # elsewhere NaN would say little
# operands that name places: the range they must keep
PLACES: dict[str, Callable[[Node], tuple[int, int, int]]] = {
    "nn.gather": lambda node: _of_axis(node, "axis"),
    "nn.gather_elements": lambda node: _of_axis(node, "axis"),
    "nn.scatter_elements": lambda node: _of_axis(node, "axis"),
    "nn.gather_nd": lambda node: (1, -9, 8),
    "nn.scatter_nd": lambda node: (1, -9, 8),
    "nn.one_hot": lambda node: (0, -12, 12),
    "nn.reverse_sequence": lambda node: (1, 0, node.operands[0].shape[node.int("time_axis")]),
    "qnn.rescale": lambda node: (2, 1, 62),
}
TAME = {"nn.attention": 16, "nn.rnn": 64, "nn.gru": 64, "nn.lstm": 64}


# integers that an operator takes and computes as floats
ODD = {("nn.batch_norm", f"{sign}{bits}") for sign in ("i", "ui") for bits in (8, 16, 32, 64)}


def _of_axis(node: Node, key: str) -> tuple[int, int, int]:
    size = node.operands[0].shape[node.int(key)]
    return 1, -size, size - 1


def built(kind: str, types: Sequence[Tensor], attributes: Mapping[str, Attribute]) -> Module:
    build = ModuleBuilder(kind)
    values = [build.input(f"in{i}", t.shape, t.dtype) for i, t in enumerate(types)]
    for i, value in enumerate(build.ops(kind, values, attributes)):
        build.output(f"y{i}", value)
    return build.finish()


def example(kind: str) -> tuple[tuple[Tensor, ...], dict[str, Attribute]]:
    found = OPS[kind].example
    assert found is not None
    return found


def drawn(value: Tensor, rng: np.random.Generator, positive: bool) -> Array:
    """Small and large numbers of a type, ties, both signs; no infinity and no NaN."""
    dtype = DTYPES[value.dtype]
    if value.dtype == "i1":
        return rng.random(value.shape) < 0.5
    if dtype.kind in "iu":
        info = np.iinfo(dtype)
        return rng.integers(info.min, info.max, value.shape, dtype, endpoint=True)
    numbers = rng.standard_normal(value.shape) * rng.choice([0.5, 3.0, 40.0], value.shape)
    ties = rng.random(value.shape) < 0.2
    numbers = np.where(ties, np.rint(numbers * 2) / 2, numbers)
    return np.asarray(np.abs(numbers) + 0.01 if positive else numbers).astype(dtype)


def inputs_of(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    """For one operator: indices inside their axis, scales above zero."""
    (node,) = module.graph.nodes
    found: dict[str, Array] = {}
    for i, (name, value) in enumerate(module.inputs.items()):
        positive = node.kind in POSITIVE or (node.kind.startswith("qnn") and i > 0)
        found[name] = drawn(Tensor(value.shape, value.dtype), rng, positive)
        # scores of thousands, or states that explode, would have no digits left to compare
        if node.kind in TAME and value.dtype in ("f64", "f32", "f16"):
            found[name] = (found[name] / TAME[node.kind]).astype(found[name].dtype)
    if node.kind in PLACES:
        i, low, high = PLACES[node.kind](node)
        held = node.operands[i]
        places = rng.integers(low, high, held.shape, endpoint=True)
        found[f"in{i}"] = places.astype(DTYPES[held.dtype])
    if node.kind == "nn.scatter_elements" and node.str("reduction") == "none":
        raise AssertionError("of two updates of one place either may stay")
    if node.kind == "qnn.rescale":
        found["in1"] = np.abs(found["in1"] // 2**16) if _narrow(node) else np.abs(found["in1"])
    return found


def _narrow(node: Node) -> bool:
    return node.str("rounding") == "single16"


def variants(kind: str) -> list[Module]:
    """The example in every element type that the operator takes."""
    types, attributes = example(kind)
    found: list[Module] = []
    for source in dict.fromkeys(t.dtype for t in types):
        for dtype in ("f64", "f32", "f16", "bf16", "i8", "ui8", "i16", "i32", "ui32", "i64"):
            if (kind, dtype) in ODD:
                continue
            changed = [t._replace(dtype=dtype) if t.dtype == source else t for t in types]
            if tuple(changed) != types:
                try:
                    found.append(built(kind, changed, attributes))
                except IRError:
                    continue  # the operator says that it does not take it
    return [built(kind, types, attributes), *found]


WITHOUT = sorted(kind for kind, op in OPS.items() if kind not in KINDS and op.example)


@pytest.mark.parametrize("kind", WITHOUT)
def test_an_operator_without_a_lowering_is_named(kind: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        jit(built(kind, *example(kind)))
    assert str(caught.value) == (
        f"operators must have a lowering to linalg, not {kind}; "
        "compute this model with the interpreter"
    )


@pytest.mark.parametrize("kind", KINDS)
def test_an_operator_agrees_in_every_type(
    kind: str, judge: Judge, rng: np.random.Generator
) -> None:
    modules = variants(kind)
    assert judge(modules, [inputs_of(module, rng) for module in modules]) == []


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
def test_every_form_of_a_recurrent_layer_agrees(
    direction: str, judge: Judge, rng: np.random.Generator
) -> None:
    d, batch, size, hidden = 1 + (direction == "bidirectional"), 3, 4, 5
    common: dict[str, Attribute] = {"direction": direction, "clip": 0.5}
    gates: dict[str, int] = {"nn.rnn": 1, "nn.gru": 3, "nn.lstm": 4}
    own: list[tuple[str, list[str], dict[str, Attribute]]] = [
        ("nn.rnn", ["tanh"], {}),
        ("nn.gru", ["sigmoid", "tanh"], {"linear_before_reset": 0}),
        ("nn.gru", ["hard_sigmoid", "softsign"], {"linear_before_reset": 1}),
        ("nn.lstm", ["sigmoid", "tanh", "tanh"], {"input_forget": 0}),
        ("nn.lstm", ["sigmoid", "tanh", "tanh"], {"input_forget": 1}),
    ]
    modules: list[Module] = []
    for kind, functions, changes in own:
        rows = gates[kind] * hidden
        state = Tensor((d, batch, hidden), "f32")
        types = [Tensor((6, batch, size), "f32"), Tensor((d, rows, size), "f32")]
        types += [Tensor((d, rows, hidden), "f32"), Tensor((d, 2 * rows), "f32"), state]
        lengths = Tensor((batch,), "i64")
        types += (
            [state, lengths, Tensor((d, 3 * hidden), "f32")] if gates[kind] == 4 else [lengths]
        )
        form = {**common, **changes, "activations": ",".join(functions * d)}
        modules.append(built(kind, types, form))
    inputs = [inputs_of(module, rng) for module in modules]
    for given in inputs:
        key = next(name for name, array in given.items() if array.dtype == np.int64)
        given[key] = np.array([6, 2, 0])
    assert judge(modules, inputs) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_wrong_number_is_a_fault(
    kind: str, judge_node: Callable[..., list[str]], rng: np.random.Generator
) -> None:
    # no bound is so wide that a thousandth of the largest number would pass (or, where errors
    # may grow from step to step, a tenth)
    share = 0.1 if kind in ("nn.gru", "nn.lstm") else 0.001
    module = built(kind, *example(kind))
    operands = list(inputs_of(module, rng).values())
    (node,) = module.graph.nodes
    with np.errstate(all="ignore"):
        made = OPS[kind].evaluate(*operands, **node.attributes)
    good = [np.array(array) for array in (made if isinstance(made, tuple) else (made,))]
    assert judge_node(node, operands, good) == []
    for place, array in enumerate(good):
        bad = [each.copy() for each in good]
        spoil(bad[place], share)
        assert len(judge_node(node, operands, bad)) == 1, f"{array.dtype} result {place}"


def spoil(array: Array, share: float) -> None:
    """Change one number by a share of it, an integer by one, a truth, a small float's code."""
    flat = array.reshape(-1)
    match array.dtype.kind:
        case "f" if array.itemsize > 1:
            finite = np.where(np.isfinite(flat), np.abs(flat), 0)
            flat[finite.argmax()] *= 1 + share
        case "b":
            flat[0] = ~flat[0]
        case _:
            finite = np.isfinite(flat.astype(np.float64))
            flat.view(f"u{array.itemsize}")[finite.argmax()] ^= 1
