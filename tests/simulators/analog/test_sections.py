"""What a chip's file may say of its arrays, and what is refused, in full sentences."""

from __future__ import annotations

import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.analog.spec import AnalogSpec
from tetrapla.simulators.spec_ import load_spec


def isaac(*overrides: str) -> AnalogSpec:
    return load_spec("isaac", AnalogSpec, overrides).spec


REFUSED: dict[tuple[str, ...], str] = {
    ("wires.r_row=-1 ohm",): (
        "--set wires.r_row must be a resistance of a wire that conducts, from 0 to 1e+12 ohm, "
        "not -1 ohm; 0 ohm is a wire without loss, and lines that are broken are "
        "faults.open_rows and faults.open_cols"
    ),
    ("wires.r_col=1e15 ohm",): (
        "--set wires.r_col must be a resistance of a wire that conducts, from 0 to 1e+12 ohm, "
        "not 1e+15 ohm; 0 ohm is a wire without loss, and lines that are broken are "
        "faults.open_rows and faults.open_cols"
    ),
    ("wires.r_sense=inf ohm",): (
        "--set wires.r_sense must be a number with a unit, not 'inf ohm'; write '64 ohm'"
    ),
    ("device.time=-1 s",): (
        "--set device.time must not lie before programming, which is at 0 s, not -1 s; give "
        "the time from programming to the reads"
    ),
    ("mapping.pairs=2",): (
        "--set mapping.pairs must be 1 where mapping.weights is differential, not 2; set "
        "mapping.weights=n_pair"
    ),
    ("mapping.weights=digital_offset", "adc.sign=signed"): (
        "--set adc.sign must be unsigned where mapping.weights is digital_offset, not signed; "
        "there are no pairs to subtract"
    ),
    ("array.topology=interleaved",): (
        "--set array.topology must not be interleaved with unsigned converters and "
        "differential weights, since its bit lines subtract pairs; set adc.sign=signed and "
        "mapping.weights=differential"
    ),
    ("faults.stuck_low=0.6", "faults.stuck_high=0.5"): (
        "--set faults.stuck_low and faults.stuck_high must be at most 1 together, not 0.6 and "
        "0.5; lower one"
    ),
    ("array.cell=9 bit",): (
        "--set array.cell must be at most 8 bits, not 9 bit; give a smaller one"
    ),
    ("faults.open_rows=1.5",): (
        "--set faults.open_rows must be at most 1, not 1.5; give a smaller one"
    ),
}


@pytest.mark.parametrize("overrides", REFUSED)
def test_what_contradicts_itself_is_refused(overrides: tuple[str, ...]) -> None:
    with pytest.raises(SpecError) as raised:
        isaac(*overrides)
    assert str(raised.value) == REFUSED[overrides]


def test_a_time_or_range_that_a_device_was_not_measured_at_is_refused() -> None:
    with pytest.raises(SpecError) as raised:
        isaac("device.time=5 s")
    assert str(raised.value) == (
        "--set device.time must be one that is known: reram_wan_1s is known at 1 s after "
        "programming, not at 5 s; leave t_s out or choose a device with a model of drift"
    )
    with pytest.raises(SpecError, match=r"at most 39\.26 uS, where rram_wan_cubic was fitted"):
        isaac("device.model=rram_wan_cubic")


def test_sections_that_a_file_leaves_out_are_off_and_can_be_set() -> None:
    plain = isaac()
    assert not plain.wires.lossy
    assert not plain.faults.any
    assert not plain.device.curved
    assert not plain.adc.mismatched
    assert plain.device.time_s is None
    assert plain.mapping.weights == "differential"
    assert isaac("wires.r_row=2 ohm").wires.r_row_ohm == 2
    assert isaac("faults.stuck_low=1 %").faults.stuck_low_frac == 0.01
    assert isaac("device.time=1 s").device.time_s == 1
    with pytest.raises(SpecError) as raised:
        isaac("wires.r_roe=2 ohm")
    assert str(raised.value).startswith("--set wires.r_roe must name a field of the chip; ")


def test_an_ideal_chip_keeps_its_arrays_and_mapping() -> None:
    noisy = isaac(
        *("wires.r_row=2 ohm", "faults.stuck_low=0.1", "device.spread=0.1", "adc.offset=1"),
        *("device.iv=sinh", "device.sinh=2", "dac.bits=2 bit", "adc.sign=signed"),
        *("mapping.weights=n_pair", "mapping.pairs=2", "device.model=pcm_like"),
        *("device.g_max=25 uS", "device.time=60 s"),
    )
    assert noisy.noisy
    assert not noisy.sums_are_exact
    ideal = noisy.ideal()
    assert not ideal.noisy
    assert ideal.sums_are_exact
    assert ideal.ideal() == ideal
    assert (ideal.array, ideal.mapping) == (noisy.array, noisy.mapping)
    # 128 rows of two cells of level 3, digits of 2 bits, and a sign: 2304 needs 12 bits and one
    assert ideal.adc.bits == 13
    assert ideal.adc.sign == "signed"
