"""Small files like the examples of NIR's repository, with their defects, up to a chip."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.spiking import cross_check, lower
from tetrapla.backends.target_ import Options
from tetrapla.frontend import nir
from tetrapla.ir.errors import ModelError
from tetrapla.ir.interpret import evaluate_many
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import SpikingSpec, run

STEPS = 30


def node(type_: str, **fields: Any) -> nir.Node:
    return nir.Node(type_, {name: np.asarray(value) for name, value in fields.items()})


def chain(nodes: Mapping[str, nir.Node | nir.Network], *more: tuple[str, str]) -> nir.Network:
    """Nodes one behind the other, but for one that feeds back, and more edges."""
    straight = [name for name in nodes if not name.endswith("w_rec")]
    return nir.Network(nodes, (*pairwise(straight), *more), version="0.2.0")


def lif(r: float) -> nir.Node:
    one = np.ones(1, np.float32)
    held = {"tau": 2.5e-3 * one, "r": r * one, "v_leak": 0 * one, "v_threshold": 0.1 * one}
    return node("LIF", **held)


def cuba(n: int) -> nir.Node:
    """Float64, no v_reset, gains that a timestep of 0.1 ms makes 1."""
    one = np.ones(n)
    taus = {"tau_syn": 2.2e-4 * one, "tau_mem": 1e-3 * one, "r": 10 * one, "w_in": 2.2 * one}
    return node("CubaLIF", **taus, v_leak=0 * one, v_threshold=one)


def dense(n: int, sources: int, biased: bool = True) -> nir.Node:
    rng = np.random.default_rng(n + sources)
    weight = rng.normal(size=(n, sources)).astype(np.float32)
    bias = {"bias": rng.uniform(0, 0.3, n).astype(np.float32)} if biased else {}
    return node("Affine" if biased else "Linear", weight=weight, **bias)


def image(filters: int, channels: int, size: int, stride: int) -> nir.Node:
    weight = np.random.default_rng(filters).normal(0.1, 0.4, (filters, channels, 3, 3))
    pair = np.ones(2, np.int64)
    held = {"stride": stride * pair, "padding": pair, "dilation": pair, "groups": 1}
    bias = np.zeros(filters, np.float32)
    shape = size * pair
    return node(
        "Conv2d", input_shape=shape, weight=weight.astype(np.float32), bias=bias, **held
    )


def integrators(*shape: int) -> nir.Node:
    one = np.ones(shape, np.float32)
    return node("IF", r=one, v_threshold=one)


def ends(first: list[int], last: list[int]) -> tuple[nir.Node, nir.Node]:
    return node("Input", shape=first), node("Output", shape=last)


def line(weight: float, r: float, last: list[int], count: int = 1) -> nir.Network:
    """lif_norse, lif_rockpool and two_lif_neurons: numbers, and what they feed."""
    a, z = ends([1], last)
    fc = node("Linear", weight=np.full((1, 1), weight, np.float32))
    cells = {k: v for i in range(count) for k, v in ((f"fc{i}", fc), (f"lif{i}", lif(r)))}
    return chain({"input": a, **cells, "output": z})


def cnn() -> nir.Network:
    """cnn_sinabs: convolutions, integrators, sum pools."""
    a, z = ends([2, 12, 12], [3])
    two = np.array([2, 2])
    pool = node("SumPool2d", kernel_size=two, stride=two, padding=0 * two)
    flat = node("Flatten", start_dim=0, end_dim=-1, input_type=np.array([2, 3, 3]))
    nodes = {"input": a, "0": image(4, 2, 12, 2), "1": integrators(4, 6, 6), "2": pool}
    nodes |= {"3": image(2, 4, 3, 1), "4": integrators(2, 3, 3), "5": flat, "6": dense(3, 18)}
    return chain({**nodes, "7": integrators(3), "output": z})


def braille(biased: bool, inner: bool = False) -> nir.Network:
    """The recurrent ones: flat, or with an inner graph whose edges name another node."""
    a, z = ends([5], [4])
    first, second = dense(9, 5, biased), dense(4, 9, biased)
    back = dense(9, 9, biased)
    ends_of = {"fc2": second, "lif2": cuba(4), "output": z}
    if not inner:
        nodes = {"input": a, "fc1": first, "lif1.lif": cuba(9), "lif1.w_rec": back, **ends_of}
        wires = (("lif1.lif", "lif1.w_rec"), ("lif1.w_rec", "lif1.lif"))
        return chain(nodes, *wires)
    b, y = ends([9], [9])
    edges = (("input", "lif"), ("lif", "lin"), ("lin", "lif"), ("lif", "output"))
    held = {"input": b, "lif1": cuba(9), "lin": back, "output": y}
    return chain({"input": a, "fc1": first, "lif1": nir.Network(held, edges), **ends_of})


FILES = {
    "lif_norse": line(1.0, 1.0, [1]),
    "lif_rockpool": line(0.04, 24.019737, [1, 1, 1]),
    "two_lif_neurons": line(3.0, 1.0, [1], 2),
    "cnn_sinabs": cnn(),
    "braille_bias_zero": braille(True),
    "braille_noBias_subtract": braille(False),
    "braille_bias_zero_subgraph": braille(True, inner=True),
    "braille_noBias_subtract_subgraph": braille(False, inner=True),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_like_the_examples_runs_on_a_chip_or_says_why_not(
    name: str, tmp_path: Path
) -> None:
    pytest.importorskip("h5py", reason="the extra 'spiking' is not installed")
    path = tmp_path / f"{name}.nir"
    nir.write(FILES[name], path)
    if name.endswith("subgraph"):
        with pytest.raises(ModelError) as refused:
            nir.load(path, {"timesteps": STEPS})
        assert str(refused.value) == (
            f"{path}: nir: node 'lif' is named by an edge but does not exist, and 'lif1' has "
            "no edge; --repair (repair=True) takes the one for the other, or write the edges "
            "again"
        )
    module = nir.load(path, {"timesteps": STEPS}, repair=True)
    rng = np.random.default_rng(0)
    (source,) = module.inputs
    shape = (4, *module.inputs[source].shape)
    x = {source: (rng.random(shape) < 0.5).astype(np.float32)}
    assert evaluate_many(module, x)["output"].any()
    loihi = load_spec("loihi", SpikingSpec).spec
    lowered = lower(module, loihi, x, Options())
    done = run(lowered.program, loihi, x, Key(0))
    reference = evaluate_many(lowered.module, x)
    assert cross_check(lowered, loihi, x, done, reference).mismatches == 0
    assert done.outputs["output"].any()
