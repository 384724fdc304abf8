"""Pictures of a spiking machine: a small one letter by letter, and what each shows."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np

from tetrapla.api import compare
from tetrapla.drawing import pictures
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.scene_ import Load, Membrane, Raster, Sight
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.spiking import Core, Population, Program, SpikingSpec, Synapses, run
from tetrapla.simulators.spiking.program import Encoder, Readout

GOLDEN = Path(__file__).parents[2] / "golden" / "spiking_pictures.svg"
EXAMPLES = Path(__file__).parents[3] / "examples"
EVIL = "<script>alert('x')</script>&\"\n"
SIGHT = Sight(
    timesteps=3,
    rasters=(
        Raster("in", 2, (0, 1), 0, np.array([[1, 0], [0, 1], [0, 0]]) > 0),
        Raster("out", 9, (4,), 1, np.array([[0], [1]]) > 0),
    ),
    membranes=(Membrane("out", (4, 7), 1, np.array([[2.0, np.inf], [-6.0, 1.0]]), (4.0, 4.0)),),
    slots=2,
    loads=(
        Load(0, 0, 0, 0, "in", 1e-6, 2, 0),
        Load(1, 0, 0, 1, "out", 4e-6, 1, 8),
        Load(3, 0, 1, 1, "out", 0.0, 0, 0),
    ),
)


def test_a_small_sight_is_drawn_letter_by_letter() -> None:
    text = pictures.drawn("loihi", SIGHT).replace("><", ">\n<") + "\n"
    assert text == GOLDEN.read_text("utf-8")


def drawings(text: str) -> list[ElementTree.Element]:
    return [ElementTree.fromstring(each) for each in re.findall(r"<svg.*?</svg>", text, re.S)]


def test_every_spike_has_a_mark_at_its_time() -> None:
    (first, second) = (
        path.get("d") or "" for path in drawings(pictures.raster(SIGHT))[0].iter("path")
    )
    # 350 of the 460 units are time: a timestep takes 116.7; a neuron takes 2
    assert [float(x) for x in re.findall(r"M(\S+) ", first)] == [96.0, 212.7]
    top, low = (float(y) for y in re.findall(r" (\S+?)v2", first))
    assert low - top == 2
    # the second population starts a timestep later
    assert [float(x) for x in re.findall(r"M(\S+) ", second)] == [329.3]


def test_a_voltage_that_is_no_number_leaves_a_gap_and_dashes_tell_lines_apart() -> None:
    paths = list(drawings(pictures.membranes(SIGHT))[0].iter("path"))
    assert [path.get("d", "").count("L") for path in paths] == [1, 0]
    assert [path.get("stroke-dasharray") for path in paths] == [None, "7 3"]


def test_a_core_has_its_place_its_share_and_a_tip() -> None:
    (drawing,) = drawings(pictures.heat(SIGHT.loads, SIGHT.slots))
    boxes = [(b.get("x"), b.get("y"), b.get("fill-opacity")) for b in drawing.iter("rect")]
    # tiles have their two cores side by side, and the second is below the first
    assert boxes == [("0", "0", "0.20"), ("40", "0", "0.60"), ("40", "40", "0.06")]
    words = [text.text for text in drawing.iter("text")]
    assert words == ["25", "100", "0", "100 is 4.00 us"]
    assert [tip.text for tip in drawing.iter("title")][2] == (
        "core 1, out: 4.00 us, 1 spikes, 8 synaptic events"
    )


def test_a_chip_that_is_idle_or_too_wide_has_no_heat_map() -> None:
    assert pictures.heat([replace(SIGHT.loads[0], busy_s=0.0)], 1) == ""
    far = [SIGHT.loads[0], replace(SIGHT.loads[1], x=49)]
    assert pictures.heat(far, 1) == ""


def test_long_runs_and_deep_networks_are_cut_and_the_caption_says_so() -> None:
    many = tuple(
        replace(SIGHT.rasters[0], name=f"p{i}", train=np.ones((300, 2), np.bool_))
        for i in range(10)
    )
    text = pictures.drawn("loihi", replace(SIGHT, timesteps=300, rasters=many))
    assert (
        "Spikes of the first inference, timesteps 0 to 127 of 300; 8 of 10 populations" in text
    )
    raster = drawings(text)[0]
    assert [t.text for t in raster.iter("title")][1:] == [
        f"p{i}: 256 spikes" for i in (0, 1, 2, 3, 6, 7, 8, 9)
    ]
    ends = [
        float(x) for d in raster.iter("path") for x in re.findall(r"M(\S+) ", d.get("d", ""))
    ]
    assert max(ends) < 460


def test_names_are_escaped_and_long_ones_cut() -> None:
    sight = Sight(
        1,
        (replace(SIGHT.rasters[0], name=EVIL),),
        (replace(SIGHT.membranes[0], name=EVIL),),
        1,
        (replace(SIGHT.loads[0], layer=EVIL),),
    )
    text = pictures.drawn(EVIL, sight)
    assert "<script" not in text
    assert "&lt;script&gt;aler…" in pictures.raster(replace(SIGHT, rasters=sight.rasters))
    assert len(drawings(text)) == 3


def program() -> Program:
    """Two neurons driven by an input, and one that hears them."""
    first = Population(
        name="first",
        op="spike.encode",
        model="integrate_and_fire",
        shape=(2,),
        depth=0,
        synapses=(),
        bias=np.zeros(2, np.int32),
        threshold=np.array([10, 10], np.int32),
        encoders=(Encoder("x", 1.0, 10),),
        initial="zero",
    )
    weight = np.array([[3], [4]], np.int8)
    second = replace(
        first,
        name="second",
        op="spike.matmul",
        shape=(1,),
        depth=1,
        synapses=(Synapses("matmul", "first", (2,), None, weight),),
        bias=np.zeros(1, np.int32),
        threshold=np.array([7], np.int32),
        encoders=(),
    )
    cores = (
        Core(0, "first", np.arange(2), ()),
        Core(5, "second", np.arange(1), (np.arange(2),)),
    )
    readouts = (Readout("y", "second", None, (1, 1), 1.0, "count"),)
    return Program("net", 4, 1, ("x",), (("y", "y"),), (first, second), cores, readouts)


def test_a_sight_is_of_the_first_inference() -> None:
    spec = load_spec("loihi", SpikingSpec).spec
    x = np.array([[[10.0, 5.0]], [[0.0, 0.0]]], np.float32)
    found = run(program(), spec, {"x": x}, Key(0))
    assert found.outputs["y"].ravel().tolist() == [2, 0]
    assert found.scene is not None
    sight = found.scene.look()
    assert sight.timesteps == 5
    first, second = sight.rasters
    assert first.train.tolist() == [[1, 0], [1, 1], [1, 0], [1, 1]]
    # its membrane: 3, 10 fires and keeps 3, 6, 13 fires and keeps 6
    assert second.train.ravel().tolist() == [0, 1, 0, 1]
    assert (first.start, second.start) == (0, 1)
    membrane = sight.membranes[1]
    assert membrane.voltage.ravel().tolist() == [3, 3, 6, 6]
    assert membrane.threshold == (7.0,)
    here, there = sight.loads
    assert (here.spikes, here.synaptic_events, there.spikes, there.synaptic_events) == (
        6,
        0,
        2,
        6,
    )
    assert (there.core, there.x, there.y, there.slot) == (5, *spec.position(5), 1)


def test_the_page_of_a_comparison_has_the_pictures_of_spiking_machines_alone() -> None:
    model = str(EXAMPLES / "digits_mlp.onnx")
    found = compare(model, ["loihi", "tpu-v1"], data="digits", samples=2, timesteps=4)
    text = found.to_html()
    assert text.count(", inside</h4>") == 1
    assert "<h4>loihi, inside</h4>" in text
    assert text == found.to_html()
    names = ("Spike raster", "Membrane voltages", "Busy time by core")
    assert [text.count(f'aria-label="{name}"') for name in names] == [1, 1, 1]
