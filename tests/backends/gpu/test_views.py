"""Values read by strides: whatever is read through moves is what the moves would make."""

from __future__ import annotations

from math import prod

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.backends.gpu.views import reshaped, view_of
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Value
from tetrapla.ir.interpret import evaluate


def split(data: st.DataObject, size: int) -> list[int]:
    """Factors of a number, ones among them."""
    found: list[int] = []
    while size > 1:
        factor = data.draw(st.sampled_from([n for n in range(2, size + 1) if size % n == 0]))
        found.append(factor)
        size //= factor
    for _ in range(data.draw(st.integers(0, 2))):
        found.insert(data.draw(st.integers(0, len(found))), 1)
    return found


@given(st.data())
def test_a_reshape_is_read_where_numpy_needs_no_copy(data: st.DataObject) -> None:
    shape = data.draw(st.lists(st.integers(1, 4), min_size=1, max_size=4))
    perm = data.draw(st.permutations(range(len(shape))))
    x = np.arange(prod(shape)).reshape(shape).transpose(perm)
    to = tuple(split(data, x.size))
    strides = tuple(step // x.itemsize for step in x.strides)
    found = reshaped(x.shape, strides, to)
    shared = np.shares_memory(x, x.reshape(to))
    assert (found is not None) == shared
    if found is not None:
        steps = tuple(step * x.itemsize for step in found)
        assert np.array_equal(np.lib.stride_tricks.as_strided(x, to, steps), x.reshape(to))


def moved(data: st.DataObject, build: ModuleBuilder, x: Value) -> Value:
    """A random move of a value."""
    match data.draw(st.sampled_from(["transpose", "reshape", "slice", "expand"])):
        case "transpose":
            perm = tuple(data.draw(st.permutations(range(len(x.shape)))))
            return build.op("nn.transpose", [x], {"perm": perm}, "move")
        case "reshape":
            shape = tuple(split(data, x.elements)) or (1,)
            return build.op("nn.reshape", [x], {"shape": shape}, "move")
        case "slice":
            starts = tuple(data.draw(st.integers(0, n - 1)) for n in x.shape)
            sizes = tuple(
                data.draw(st.integers(1, n - start))
                for n, start in zip(x.shape, starts, strict=True)
            )
            steps = tuple(
                data.draw(st.integers(1, 2)) if start + 2 * (size - 1) < n else 1
                for n, start, size in zip(x.shape, starts, sizes, strict=True)
            )
            attributes = {"starts": starts, "sizes": sizes, "steps": steps}
            return build.op("nn.slice", [x], attributes, "move")
        case _:
            shape = (2, *(3 if n == 1 and data.draw(st.booleans()) else n for n in x.shape))
            return build.op("nn.expand", [x], {"shape": shape}, "move")


@given(st.data())
def test_a_view_shows_what_the_moves_make(data: st.DataObject) -> None:
    build = ModuleBuilder("moves")
    x = build.input("x", (2, 3, 4))
    y = x
    for _ in range(data.draw(st.integers(1, 4))):
        y = moved(data, build, y)
    build.output("y", build.op("nn.relu", [y], {}, "read"))
    module = build.finish()
    makers = {node.result.index: node for node in module.graph.nodes}
    (seen,) = (node.operands[0] for node in module.graph.nodes if node.kind == "nn.relu")
    view = view_of(seen, makers)
    given_x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    # where a reshape needs a copy, the view is of what it makes
    held = evaluate(module, {"x": given_x}, keep="all")
    buffers = {"x": given_x} | {
        node.name: np.asarray(held[node.name]) for node in module.graph.nodes
    }
    names = {value.index: name for name, value in module.graph.inputs}
    names |= {node.result.index: node.name for node in module.graph.nodes}
    flat = np.ascontiguousarray(buffers[names[view.value.index]]).reshape(-1)
    index = np.indices(view.shape).reshape(len(view.shape), -1)
    offsets = view.offset + sum(
        i * stride for i, stride in zip(index, view.strides, strict=True)
    )
    assert np.array_equal(flat[offsets], buffers[names[seen.index]].reshape(-1))
