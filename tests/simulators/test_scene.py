"""What a report's JSON has to draw: timelines that are bounded, spikes by time, roofs."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tetrapla.backends.target_ import find
from tetrapla.simulators.json_ import to_json
from tetrapla.simulators.roof_ import most_used, roof_of
from tetrapla.simulators.scene_ import SLICES, Raster, Sight, Slice, ends, plain, timeline


def test_a_short_timeline_is_the_trace_in_seconds() -> None:
    trace = [Slice("b", "two", 5, 10), Slice("a", "one", 0, 5)]
    assert timeline(trace, 1e-9) == [["a", "one", 0.0, 5e-9], ["b", "two", 5e-9, 1e-8]]


def test_a_long_timeline_closes_small_gaps_first() -> None:
    # 3,000 stretches of one cycle with gaps of one, and behind a wide gap another
    trace = [Slice("a", "x", 2 * k, 2 * k + 1) for k in range(3000)]
    found = timeline([*trace, Slice("a", "x", 60_000, 60_001)], 1.0)
    assert found == [["a", "x", 0.0, 5999.0], ["a", "x", 60_000.0, 60_001.0]]


def test_a_timeline_of_too_many_names_keeps_the_longest() -> None:
    trace = [Slice("a", f"x{k}", k, k + (2 if k == 7 else 1)) for k in range(SLICES + 5)]
    found = timeline(trace, 1.0)
    assert len(found) == SLICES
    assert ["a", "x7", 7.0, 9.0] in found


def test_names_that_take_turns_are_joined_each() -> None:
    trace = [Slice("a", f"x{k % 2}", k, k + 1) for k in range(9000)]
    found = timeline(trace, 1.0)
    assert len(found) <= SLICES
    assert {name for _, name, _, _ in found} == {"x0", "x1"}


def test_spikes_have_the_chips_timestep_and_their_place() -> None:
    train = np.zeros((130, 2), bool)
    train[0, 1] = train[3, 0] = train[128, 0] = True
    sight = Sight(130, rasters=(Raster("p", 9, (0, 4), 2, train),))
    found = plain(sight, (), 1.0)
    # the last is behind the first 128 timesteps
    spikes = [[2, 1], [5, 0]]
    raster = {"name": "p", "neurons": 9, "shown": [0, 4], "start": 2, "spikes": spikes}
    assert found == {"rasters": [raster]}


def test_nothing_to_see_is_nothing() -> None:
    assert plain(None, (), 1.0) == {}
    assert plain(Sight(), (Slice("a", "x", 0, 1),), 0.0) == {}


def test_of_many_populations_the_first_and_the_last_have_room() -> None:
    assert ends(range(9)) == [0, 1, 2, 3, 5, 6, 7, 8]
    assert ends(range(8)) == list(range(8))


def test_a_sight_is_one_line_of_json() -> None:
    # a name that looks like where a sight was set aside
    name = '"sight": "\0' + '0"'
    content = {"name": name, "runs": [{"sight": {"a": [[1, 2]]}}, {"sight": {"b": [3.5]}}]}
    text = to_json(content)
    assert json.loads(text) == content
    assert '"sight": {"a":[[1,2]]}\n' in text
    assert text.count("\n") == 11


@pytest.mark.parametrize(
    ("chip", "peak", "bandwidth"),
    [
        # 256 x 256 PEs at 700 MHz; 34 GB/s of weights (Jouppi et al., ISCA 2017)
        ("tpu-v1", 65536 * 700e6, 34e9),
        # 312 TFLOP/s of fp16 are half as many MACs (NVIDIA's whitepaper); 2039 GB/s
        ("a100", 156e12, 2039e9),
        ("isaac", None, None),
        ("loihi", None, None),
    ],
)
def test_a_chips_roof(chip: str, peak: float | None, bandwidth: float | None) -> None:
    roof = find(chip)[1].spec.roof()
    assert roof.peak_macs_per_s == (peak if peak is None else pytest.approx(peak, rel=2e-3))
    assert roof.bandwidth_bytes_per_s == bandwidth
    assert roof.peak
    assert roof.bandwidth
    assert roof_of(json.loads(json.dumps(roof.to_dict()))) == roof
    assert roof_of(None) is None


def test_the_format_of_most_multiplications_decides() -> None:
    assert (
        most_used({"mac.int8": 9, "mac.bf16": 10, "mac.idle": 99, "dram.read_byte": 1e6})
        == "bf16"
    )
    # float32 also adds and compares between the products
    assert most_used({"flop.fp32": 99, "op.int8": 1}) == "int8"
    assert most_used({"flop.fp32": 99}) == "fp32"
    assert most_used({"mac.op": 5}) is None
