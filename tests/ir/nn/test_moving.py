"""Operators that move values, against ONNX Runtime (equal) and as laws of random shapes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.op import OPS

Run: TypeAlias = Callable[..., list[Array]]
SHAPES = st.lists(st.integers(1, 5), min_size=1, max_size=4).map(tuple)


def _numbers(shape: tuple[int, ...]) -> Array:
    return np.arange(np.prod(shape, dtype=int), dtype=np.float32).reshape(shape)


def _evaluated(kind: str, *operands: Array, **attributes: Any) -> Array:
    made = OPS[kind].evaluate(*operands, **attributes)
    assert isinstance(made, np.ndarray)
    return made


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_pad(
    mode: str, dtype: type[Any], rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.integers(-9, 9, (3, 4, 5)).astype(dtype)
    for pads in ((1, 0, 2, 0, 3, 1), (0,) * 6, (2, -1, 0, 1, 0, -2), (0, 3, 4, 2, 2, 4)):
        given = [x, np.array(pads, np.int64), np.array(7, dtype)]
        (theirs,) = runtime("Pad", given, mode=mode)
        (found,) = ours("nn.pad", [x], pads=pads, mode=mode, value=7.0)
        assert np.array_equal(found, theirs)


@settings(max_examples=60, deadline=None)
@given(st.data(), st.sampled_from(["constant", "reflect", "edge", "wrap"]))
def test_padding_is_numpys_and_cropping_undoes_it(data: st.DataObject, mode: str) -> None:
    x = _numbers(data.draw(SHAPES))
    most = [size - 1 for size in x.shape]
    before = [data.draw(st.integers(0, m)) for m in most]
    behind = [data.draw(st.integers(0, m)) for m in most]
    y = _evaluated("nn.pad", x, pads=(*before, *behind), mode=mode, value=0.0)
    form: Any = mode
    assert np.array_equal(y, np.pad(x, list(zip(before, behind, strict=True)), mode=form))
    back = tuple(-n for n in (*before, *behind))
    assert np.array_equal(_evaluated("nn.pad", y, pads=back, mode=mode, value=0.0), x)


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_gather_and_scatter_elements(
    axis: int, rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.normal(size=(4, 4, 6)).astype(np.float32)
    indices = rng.integers(-4, 4, (4, 3, 5))
    if axis != -1:
        indices = indices[:3, :, :]
    (theirs,) = runtime("GatherElements", [x, indices], axis=axis)
    (found,) = ours("nn.gather_elements", [x, indices], axis=axis)
    assert np.array_equal(found, theirs)
    updates = rng.integers(-9, 9, indices.shape).astype(np.float32)
    x = np.rint(x * 4)  # sums of integers do not depend on their order
    for reduction in ("add", "mul", "max", "min"):
        given = [x, indices, updates]
        (theirs,) = runtime("ScatterElements", given, axis=axis, reduction=reduction)
        (found,) = ours("nn.scatter_elements", given, axis=axis, reduction=reduction)
        assert np.array_equal(found, theirs)


def test_scatter_elements_to_different_places(
    rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    x = rng.normal(size=(6, 5)).astype(np.float32)
    indices = np.stack([rng.permutation(6)[:4] for _ in range(5)], axis=1)
    given = [x, indices - 6 * (indices > 3), rng.normal(size=(4, 5)).astype(np.float32)]
    (theirs,) = runtime("ScatterElements", given, axis=0)
    (found,) = ours("nn.scatter_elements", given, axis=0, reduction="none")
    assert np.array_equal(found, theirs)


def test_of_several_updates_the_last_one_stays(ours: Run) -> None:
    x, updates = np.zeros(3, np.int8), np.array([5, 6, 7], np.int8)
    given = [x, np.array([1, 1, -2]), updates]
    (found,) = ours("nn.scatter_elements", given, axis=0, reduction="none")
    assert found.tolist() == [0, 7, 0]


@pytest.mark.parametrize("batch", [0, 1, 2])
def test_gather_nd(batch: int, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.normal(size=(2, 3, 4, 5)).astype(np.float32)
    for named in range(1, 5 - batch):
        indices = rng.integers(-2, 2, (2, 3, 2, named))
        (theirs,) = runtime("GatherND", [x, indices], batch_dims=batch)
        (found,) = ours("nn.gather_nd", [x, indices], batch_dims=batch)
        assert np.array_equal(found, theirs)


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "max", "min"])
def test_scatter_nd(reduction: str, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.integers(-9, 9, (5, 4, 3)).astype(np.float32)
    different = rng.permutation(5)[:4][:, None]
    repeated = rng.integers(-4, 4, (6, 2))
    for indices in (different,) if reduction == "none" else (different, repeated):
        shape = (*indices.shape[:-1], *x.shape[indices.shape[-1] :])
        given = [x, indices, rng.integers(-9, 9, shape).astype(np.float32)]
        (theirs,) = runtime("ScatterND", given, reduction=reduction)
        (found,) = ours("nn.scatter_nd", given, reduction=reduction)
        assert np.array_equal(found, theirs)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gather_nd_gives_back_what_scatter_nd_put(data: st.DataObject) -> None:
    x = _numbers(data.draw(SHAPES))
    named = data.draw(st.integers(1, x.ndim))
    places = np.indices(x.shape[:named]).reshape(named, -1).T
    rows = data.draw(st.permutations(range(len(places))))
    indices = places[rows[: data.draw(st.integers(0, len(rows)))]]
    updates = -1 - _numbers((len(indices), *x.shape[named:]))
    y = _evaluated("nn.scatter_nd", x, indices, updates, reduction="none")
    assert np.array_equal(_evaluated("nn.gather_nd", y, indices, batch_dims=0), updates)
    assert np.count_nonzero(y != x) == updates.size


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_gather_elements_gives_back_what_scatter_elements_put(data: st.DataObject) -> None:
    x = _numbers(data.draw(SHAPES))
    axis = data.draw(st.integers(-x.ndim, x.ndim - 1))
    seed = data.draw(st.integers(0, 2**32 - 1))
    order = np.argsort(np.random.default_rng(seed).random(x.shape), axis=axis)
    updates = -1 - _numbers(x.shape)
    y = _evaluated("nn.scatter_elements", x, order, updates, axis=axis, reduction="none")
    assert np.array_equal(_evaluated("nn.gather_elements", y, order, axis=axis), updates)


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_a_slice_is_numpys(data: st.DataObject) -> None:
    x = _numbers(data.draw(SHAPES))
    cuts = [
        slice(
            data.draw(st.integers(-n, n)),
            data.draw(st.integers(-n, n)),
            data.draw(st.sampled_from([-3, -2, -1, 1, 2, 3])),
        ).indices(n)
        for n in x.shape
    ]
    ranges = [range(*cut) for cut in cuts]
    own: dict[str, Any] = {
        "starts": tuple(r.start if r else 0 for r in ranges),
        "sizes": tuple(len(r) for r in ranges),
        "steps": tuple(r.step for r in ranges),
    }
    assert np.array_equal(_evaluated("nn.slice", x, **own), x[np.ix_(*map(list, ranges))])


@pytest.mark.parametrize(
    ("kind", "operands", "attributes", "message"),
    [
        (
            "nn.gather_elements",
            [np.zeros(3), np.array([3])],
            {"axis": 0},
            "nn.gather_elements indices must lie in -3..2, not 3",
        ),
        (
            "nn.gather_nd",
            [np.zeros((3, 2)), np.array([[0, -3]])],
            {"batch_dims": 0},
            "nn.gather_nd indices must lie in -2..1, not -3",
        ),
        (
            "nn.scatter_nd",
            [np.zeros(3), np.array([[5]]), np.zeros(1)],
            {"reduction": "add"},
            "nn.scatter_nd indices must lie in -3..2, not 5",
        ),
        (
            "nn.reverse_sequence",
            [np.zeros((3, 1)), np.array([4])],
            {"batch_axis": 1, "time_axis": 0},
            "nn.reverse_sequence lengths must lie in 0..3, not 4",
        ),
    ],
)
def test_an_index_outside_is_refused(
    kind: str, operands: list[Array], attributes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ModelError) as caught:
        OPS[kind].evaluate(*operands, **attributes)
    assert str(caught.value) == message


@pytest.mark.parametrize("largest", [0, 1])
@pytest.mark.parametrize("dtype", [np.float32, np.int64, np.uint8])
def test_top_k(
    largest: int, dtype: type[Any], rng: np.random.Generator, ours: Run, runtime: Run
) -> None:
    low = 0 if dtype is np.uint8 else -3
    x = rng.integers(low, 4, (6, 20, 3)).astype(dtype)  # few values: many ties
    for axis, k in ((0, 6), (1, 7), (-1, 1), (1, 0)):
        given = [x, np.array([k], np.int64)]
        theirs = runtime("TopK", given, outputs=2, axis=axis, largest=largest)
        found = ours("nn.top_k", [x], k=k, axis=axis, largest=largest)
        assert np.array_equal(found[0], theirs[0])
        assert np.array_equal(found[1], theirs[1])


def test_top_k_of_the_smallest_integer(ours: Run) -> None:
    x = np.array([-128, 127, -128, 0], np.int8)
    values, places = ours("nn.top_k", [x], k=4, axis=0, largest=1)
    assert values.tolist() == [127, 0, -128, -128]
    assert places.tolist() == [1, 3, 0, 2]


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_one_hot(axis: int, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    indices = rng.integers(-9, 9, (4, 5))  # some outside
    values = np.array([-2, 3], np.float32)
    given = [indices, np.array([6], np.int64), values]
    (theirs,) = runtime("OneHot", given, axis=axis)
    (found,) = ours("nn.one_hot", [indices, values], depth=6, axis=axis)
    assert np.array_equal(found, theirs)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_and_space(mode: str, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.normal(size=(2, 18, 4, 5)).astype(np.float32)
    (theirs,) = runtime("DepthToSpace", [x], blocksize=3, mode=mode)
    (found,) = ours("nn.depth_to_space", [x], blocksize=3, mode=mode)
    assert np.array_equal(found, theirs)
    (back,) = ours("nn.space_to_depth", [found], blocksize=3, mode=mode)
    assert np.array_equal(back, x)
    if mode == "DCR":
        assert np.array_equal(runtime("SpaceToDepth", [found], blocksize=3)[0], x)


@pytest.mark.parametrize("upper", [0, 1])
@pytest.mark.parametrize("k", [-9, -1, 0, 2, 9, 2**40])
def test_trilu(k: int, upper: int, rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.normal(size=(2, 4, 6)).astype(np.float32)
    (found,) = ours("nn.trilu", [x], k=k, upper=upper)
    (theirs,) = runtime("Trilu", [x, np.array(min(k, 99), np.int64)], upper=upper)
    assert np.array_equal(found, theirs)


def test_reverse_sequence(rng: np.random.Generator, ours: Run, runtime: Run) -> None:
    x = rng.normal(size=(6, 4, 3)).astype(np.float32)
    lengths = np.array([1, 6, 3, 2], np.int64)
    for shape, batch, time in (((0, 1, 2), 1, 0), ((1, 0, 2), 0, 1)):
        moved = np.ascontiguousarray(x.transpose(shape))
        own: dict[str, Any] = {"batch_axis": batch, "time_axis": time}
        (theirs,) = runtime("ReverseSequence", [moved, lengths], **own)
        (found,) = ours("nn.reverse_sequence", [moved, lengths], **own)
        assert np.array_equal(found, theirs)
