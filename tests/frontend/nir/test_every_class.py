"""Every node class of the installed `nir` package, field by field, through our files."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.frontend import nir as ours
from tetrapla.frontend.nir.network import NODES
from tetrapla.ir.errors import UnsupportedError

theirs: Any = pytest.importorskip("nir", reason="the extra 'spiking' is not installed")
IMAGE, ROW, ONE = np.array([2, 6, 6]), np.array([2, 6]), np.ones(4)
_CONV: dict[str, Any] = {
    "stride": 2,
    "padding": 1,
    "dilation": 1,
    "groups": 1,
}  # it infers others wrongly
_POOL = [np.array([2, 2]), np.array([2, 1]), np.array([1, 0])]
_LEAKY: dict[str, Any] = {"r": 3 * ONE, "v_leak": ONE / 4}
_CUBA: dict[str, Any] = {"tau_syn": ONE / 8, "tau_mem": ONE / 2, **_LEAKY, "w_in": ONE / 3}
_FIRES: dict[str, Any] = {"v_threshold": 2 * ONE, "v_reset": -ONE}


def draw(*shape: int) -> Any:
    return np.random.default_rng(len(shape)).normal(size=shape)


def example(name: str) -> tuple[Any, Any]:
    """A node of a class, every field set to something of its own, and its input's shape."""
    cls = getattr(theirs, name)
    match name:
        case "Conv1d":
            return cls(6, draw(4, 2, 3), bias=draw(4), **_CONV), ROW
        case "Conv2d":
            return cls((6, 6), draw(4, 2, 3, 3), bias=draw(4), **_CONV), IMAGE
        case "SumPool2d" | "AvgPool2d":
            return cls(*_POOL), IMAGE
        case "Flatten":
            return cls({"input": IMAGE}, 0, -1), IMAGE
        case "Affine":
            return cls(draw(3, 4), draw(3)), np.array([4])
        case "Linear":
            return cls(draw(3, 4)), np.array([4])
        case "Delay" | "Scale" | "Threshold" | "I":
            return cls(draw(4)), np.array([4])
        case "IF":
            return cls(2 * ONE, **_FIRES), np.array([4])
        case "LI" | "LIF":
            fires = _FIRES if name == "LIF" else {}
            return cls(tau=ONE / 8, **_LEAKY, **fires), np.array([4])
        case "CubaLI" | "CubaLIF":
            return cls(**_CUBA, **(_FIRES if name == "CubaLIF" else {})), np.array([4])
        case "NIRGraph":
            inner, shape = example("LIF")
            return graph(inner, shape), shape
        case _:
            return cls(np.array([4])), np.array([4])


def graph(node: Any, shape: Any) -> Any:
    (made,) = node.output_type.values()
    nodes = {"in": theirs.Input(shape), "node": node, "out": theirs.Output(made)}
    return theirs.NIRGraph(nodes, [("in", "node"), ("node", "out")])


def classes() -> list[str]:
    """Of nodes, by name."""

    def below(cls: type) -> Iterator[type]:
        found: list[type] = cls.__subclasses__()
        for each in found:
            yield each
            yield from below(each)

    return sorted({each.__name__ for each in below(theirs.NIRNode)})


def difference(a: Any, b: Any, path: str = "") -> str:
    """Where two dictionaries of the package differ; nothing where they are equal."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        if set(a) != set(b):
            return f"{path}: {sorted(set(a) ^ set(b))}"
        found = (difference(a[key], b[key], f"{path}/{key}") for key in a)
        return next((each for each in found if each), "")
    left, right = np.asarray(a), np.asarray(b)
    same = left.dtype == right.dtype and np.array_equal(left, right)
    return "" if same else f"{path}: {a!r} is not {b!r}"


def test_the_packages_classes_are_ours_but_for_one_that_it_does_not_read_itself() -> None:
    assert set(classes()) == {*NODES, "NIRGraph", "Identity"}


@pytest.mark.parametrize("name", [name for name in classes() if name != "Identity"])
def test_a_node_that_we_write_is_what_the_package_wrote(name: str, tmp_path: Path) -> None:
    whole = graph(*example(name))
    theirs.write(tmp_path / "theirs.nir", whole)
    ours.write(ours.read(tmp_path / "theirs.nir"), tmp_path / "ours.nir")
    first, second = (theirs.read(tmp_path / f"{who}.nir") for who in ("theirs", "ours"))
    assert difference(first.to_dict(), second.to_dict()) == ""
    assert type(second.nodes["node"]) is type(whole.nodes["node"])
    assert [tuple(edge) for edge in second.edges] == [tuple(edge) for edge in whole.edges]


def test_a_difference_is_found() -> None:
    first, second = (graph(*example("LIF")).to_dict() for _ in range(2))
    assert difference(first, second) == ""
    second["nodes"]["node"]["tau"] = second["nodes"]["node"]["tau"] + 1
    assert difference(first, second).startswith("/nodes/node/tau: ")


def test_a_class_that_the_package_does_not_read_is_refused(tmp_path: Path) -> None:
    assert not hasattr(theirs, "Identity")
    nodes = {name: ours.Node(name, {}) for name in ("Input", "Identity", "Output")}
    edges = (("Input", "Identity"), ("Identity", "Output"))
    ours.write(ours.Network(nodes, edges), tmp_path / "a.nir")
    with pytest.raises(AssertionError):
        theirs.read(tmp_path / "a.nir")
    with pytest.raises(UnsupportedError) as refused:
        ours.load(tmp_path / "a.nir", {"timesteps": 2})
    assert str(refused.value) == (
        f"{tmp_path / 'a.nir'}: nir: nodes Identity (Identity) have no spiking form; known are "
        f"{', '.join(sorted(NODES))}, NIRGraph"
    )
