"""Weights as a chip holds them, for training: what a simulation of the chip multiplies with."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.backends.analog import perturb
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Array, Attribute
from tetrapla.simulators.analog.crossbar import folded, sliced
from tetrapla.simulators.analog.program import Product
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.spec_ import load_spec

QUIET = ("device.model=exact", "device.read_noise=0")
PCM = ("device.model=pcm_like", "device.g_max=25 uS", "device.read=0", "device.read_noise=0")
WIRES = ("wires.r_row=4 ohm", "wires.r_col=3 ohm")
STUCK = ("faults.stuck_low=0.05", "faults.open_rows=0.05", "recovery.rows=permuted")


def isaac(*overrides: str) -> AnalogSpec:
    own = ("array.rows=16", "array.cols=32", *overrides)
    return load_spec("isaac", AnalogSpec, own).spec


def weights(groups: int = 1) -> Array:
    rng = np.random.default_rng(2)
    return rng.integers(-127, 128, (40 // groups, 12)).astype(np.int16)


def product(spec: AnalogSpec, groups: int = 1) -> Product:
    of = perturb.Matrix("w", 3, groups > 1, groups)
    return perturb.product_of(weights(groups), of, spec)


@pytest.mark.parametrize("groups", [1, 4])
@pytest.mark.parametrize(
    "mapping",
    [
        (),
        ("mapping.weights=offset_column",),
        ("mapping.weights=digital_offset",),
        ("mapping.weights=n_pair", "mapping.pairs=2", "adc.sign=signed"),
    ],
    ids=str,
)
def test_exact_cells_hold_the_weights(mapping: tuple[str, ...], groups: int) -> None:
    spec = isaac(*QUIET, *mapping)
    found = perturb.on_arrays(product(spec, groups), spec, Key(0))
    assert np.array_equal(found, weights(groups))


@pytest.mark.parametrize(
    "chip",
    [
        (*PCM, "adc.sign=signed"),
        (*PCM, "device.time=3600 s", "recovery.drift=column", *WIRES, "adc.sign=signed"),
        (*PCM, *STUCK, "adc.sign=signed"),
        (*PCM, "mapping.weights=offset_column", "device.g_min=0 uS"),
    ],
    ids=str,
)
def test_a_simulation_multiplies_with_the_same_matrix(chip: tuple[str, ...]) -> None:
    spec = isaac(*chip, "adc.bits=24 bit", "dac.bits=8 bit")
    one = product(spec)
    inputs = np.random.default_rng(3).integers(0, 256, (1, 50, 40)).astype(np.uint8)
    if "faults.stuck_low=0.05" in chip:
        assert not np.array_equal(folded(one, inputs), sliced(one, spec, inputs, Key(1)))
    found = inputs @ perturb.on_arrays(one, spec, Key(1))
    # converters round every column of every array to a unit, by half of one at most: a slice
    # for the weights on three arrays, and one more for the offsets' column
    away = np.abs(found - sliced(one, spec, inputs, Key(1)))
    units = sum(4.0**k for k in range(one.slices))
    assert away.max() <= 3 * units / 2 * (2 if "offset" in str(chip) else 1)


def test_reads_of_digits_add_their_share() -> None:
    # one digit of 8 bits is the input itself; of single bits, sum 4^t / 2 over
    # E[u^2] = sum 4^t (1/2 - 1/4) + (255 / 2)^2
    assert perturb.read_share(isaac("dac.bits=8 bit")) == pytest.approx(1.0)
    assert perturb.read_share(isaac()) == pytest.approx(10922.5 / (5461.25 + 127.5**2))


def test_noise_of_reads_has_the_spread_of_the_cells() -> None:
    spec = isaac("device.model=exact", "device.read_noise=0.1", "dac.bits=8 bit")
    one = product(spec)
    found = [perturb.on_arrays(one, spec, Key(0, chip=n)) - weights() for n in range(60)]
    # cells of level l of a slice err by 0.1 (l + g_min), which counts 4^slice
    levels = np.stack([np.abs(weights()) >> 2 * k & 3 for k in range(one.slices)])
    least = spec.device.g_min_siemens / spec.device.g_max_siemens
    floor = least / (1 - least) * 3
    each = (levels + floor) ** 2 + floor**2
    expected = 0.1 * np.sqrt((16.0 ** np.arange(one.slices)[:, None, None] * each).sum(axis=0))
    ratio = np.std(found, axis=0) / expected
    assert ratio.mean() == pytest.approx(1.0, abs=0.02)


def net() -> ModuleBuilder:
    b = ModuleBuilder("net")
    x = b.input("x", (2, 4, 3, 3), "f32")
    rng = np.random.default_rng(0)
    w = b.weight("filters", rng.standard_normal((6, 2, 3, 3)).astype(np.float32))
    same: dict[str, Attribute] = {
        "strides": (1, 1),
        "pads": (0, 0, 0, 0),
        "dilations": (1, 1),
        "groups": 2,
    }
    y = b.op("nn.conv2d", [x, w], {**same, "activation": "none"}, "conv")
    flat = b.op("nn.reshape", [y], {"shape": (2, 6)}, "flat")
    v = b.weight("v", rng.standard_normal((6, 5)).astype(np.float32))
    b.output("y", b.op("nn.matmul", [flat, v], {"activation": "none"}, "fc"))
    return b


def test_filters_and_matrices_keep_their_shapes() -> None:
    module = net().finish()
    kind = perturb.chips(module, isaac(*QUIET))
    assert [(m.symbol, m.filters, m.groups) for m in kind.matrices] == [
        ("filters", True, 2),
        ("v", False, 1),
    ]
    held = kind.held(module.weights, Key(0))
    for name, found in held.items():
        given = module.weights[name]
        assert found.dtype == given.dtype
        # rounded to 127 steps of the largest of an output
        axis = (1, 2, 3) if name == "filters" else 0
        step = np.abs(given).max(axis=axis, keepdims=True) / 127
        assert (np.abs(found - given) <= step * 0.5001).all()
        assert not np.array_equal(found, given)


def test_chips_differ_and_a_key_is_one_chip() -> None:
    module = net().finish()
    kind = perturb.chips(module, isaac(*PCM))
    one, same, other = (kind.held(module.weights, Key(0, chip=n))["v"] for n in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_a_model_without_products_is_refused() -> None:
    b = ModuleBuilder("flat")
    b.output("y", b.op("nn.relu", [b.input("x", (2, 4), "f32")], {}, "relu"))
    with pytest.raises(UnsupportedError) as raised:
        perturb.chips(b.finish(), isaac())
    assert str(raised.value) == (
        "isaac: model 'flat' must have a product or a convolution with constant weights to be "
        "trained for arrays, not none"
    )
