"""The catalogue against what is published of each chip: peaks, powers, absent figures."""

from __future__ import annotations

from functools import cache

import pytest

from tetrapla.backends.target_ import find
from tetrapla.simulators.roofline import RooflineSpec
from tetrapla.simulators.spec_ import chips, family_of
from tetrapla.simulators.systolic.counts import ACTIONS
from tetrapla.simulators.systolic.formats import ELEMENT_BYTES
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.suites.energy import busy_power_w

SYSTOLIC = [name for name in chips() if family_of(name) == "systolic"]
ROOFLINE = [name for name in chips() if family_of(name) == "roofline"]

# chip, format: the peak as published, in units of its last digit (0.1: one decimal is given)
PEAKS = [
    ("tpu-v1", "int8", 92e12, 1e12),  # ISCA 2017, table 2
    ("tpu-v2", "bf16", 46e12, 1e12),  # ISCA 2021, table 1
    ("tpu-v3", "bf16", 123e12, 1e12),
    ("tpu-v4i", "int8", 138e12, 1e12),
    ("tpu-v4i", "bf16", 138e12, 1e12),
    ("tpu-v4", "int8", 275e12, 1e12),  # ISCA 2023, table 4
    ("tpu-v4", "bf16", 275e12, 1e12),
    ("tpu-v5e", "bf16", 197e12, 1e12),  # cloud.google.com/tpu/docs/v5e
    ("tpu-v5e", "int8", 393e12, 1e12),
    ("edge-tpu", "int8", 4e12, 1e12),  # Coral's datasheet
    ("eyeriss", "int16", 67.2e9, 0.2e9),  # JSSC 2017: 33.6 GMAC/s
]
# published watts of a busy chip's least and most, over which no price may lead
POWERS = ["tpu-v1", "tpu-v2", "tpu-v3", "tpu-v4i", "tpu-v4"]


@cache
def systolic(name: str) -> SystolicSpec:
    spec = find(name)[1].spec
    assert isinstance(spec, SystolicSpec)
    return spec


def peak_op_per_s(spec: SystolicSpec, number_format: str) -> float:
    array = spec.array
    pes = array.rows * array.cols * array.units
    return pes * 2 * spec.clock_hz / array.formats[number_format]


@pytest.mark.parametrize(
    ("name", "number_format", "published", "digit"),
    [row for row in PEAKS if row[0] in chips()],
)
def test_the_array_has_the_published_peak(
    name: str, number_format: str, published: float, digit: float
) -> None:
    found = peak_op_per_s(systolic(name), number_format)
    assert abs(found - published) <= digit / 2


@pytest.mark.parametrize("name", SYSTOLIC)
def test_a_chip_multiplies_its_default_format(name: str) -> None:
    spec = systolic(name)
    assert spec.chip.default_format in spec.array.formats
    # int8 where it is supported
    assert spec.chip.default_format == "int8" or "int8" not in spec.array.formats


@pytest.mark.parametrize("name", SYSTOLIC)
def test_a_chip_prices_every_action_of_its_formats(name: str) -> None:
    spec = systolic(name)
    macs = {f"mac.{each}" for each in ELEMENT_BYTES}
    foreign = macs - {f"mac.{each}" for each in spec.array.formats}
    missing = set(ACTIONS) - set(spec.cost) - foreign
    assert missing == set()


@pytest.mark.parametrize("name", SYSTOLIC)
def test_prices_are_all_there_or_the_chip_has_no_node_to_derive_them(name: str) -> None:
    spec = systolic(name)
    unknown = [action for action, price in spec.cost.items() if price is None]
    fpga = name == "vta-ultra96"  # no table has energies of an FPGA's fabric
    assert not unknown or spec.chip.node_nm is None or fpga


@pytest.mark.parametrize("name", [name for name in POWERS if name in chips()])
def test_a_busy_chip_draws_between_idle_and_its_tdp(name: str) -> None:
    spec = systolic(name)
    assert spec.chip.tdp_w is not None
    idle_w = spec.chip.static_power_w or 0.0
    for number_format in spec.array.formats:
        busy_w = busy_power_w(spec, number_format)
        assert busy_w is not None
        assert idle_w < busy_w < spec.chip.tdp_w


def test_the_busy_power_of_tpu_v1_is_what_the_head_of_its_file_says() -> None:
    assert "draws\n# 37 W" in find("tpu-v1")[1].text
    busy_w = busy_power_w(systolic("tpu-v1"), "int8")
    assert busy_w is not None
    assert round(busy_w) == 37


@pytest.mark.parametrize("name", ROOFLINE)
def test_a_datasheet_draws_at_most_its_tdp(name: str) -> None:
    spec = find(name)[1].spec
    assert isinstance(spec, RooflineSpec)
    price = spec.cost["chip.nanosecond"]
    if price is not None and spec.chip.tdp_w is not None:
        assert price * 1e-3 <= spec.chip.tdp_w * (1 + 1e-12)  # pJ per ns are mW


def test_the_datasheets_peaks_follow_from_their_units() -> None:
    # 1472 tiles of 64 fp16 multiply-adds (Hot Chips 33) at the clock, to three digits
    ipu = find("graphcore-ipu")[1].spec
    assert 1472 * 64 * 2 * ipu.clock_hz == pytest.approx(ipu.peak["fp16"], rel=0.5 / 250)
    wafer = find("cerebras-wse2")[1].spec
    assert 850_000 * 4 * 2 * wafer.clock_hz == pytest.approx(wafer.peak["fp16"], rel=1e-9)


@pytest.mark.parametrize("name", chips())
def test_what_a_chip_leaves_open_says_so(name: str) -> None:
    chip = find(name)[1]
    absent = [entry for entry in chip.provenance if entry.value == "null"]
    assert all(entry.source for entry in absent)
