"""Prices, invariants and the JSON of a report."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.errors import SpecError, TetraplaError, UnsupportedError
from tetrapla.simulators.price_ import weak_warnings
from tetrapla.simulators.report import (
    Accuracy,
    CrossCheck,
    InternalError,
    LayerRun,
    Report,
    Run,
    assemble,
    check_invariants,
    price,
    summed,
)
from tetrapla.simulators.spec_ import Provenance

COST = {"mac.int8": 0.5, "dram.read_byte": 20.0, "dram.write_byte": None, "static.second": 3.0}
CONV = LayerRun("conv1", "qnn.conv2d", 100.0, 640, 0.8, "compute", {"mac.int8": 640})
DENSE = LayerRun(
    "dense", "qnn.matmul", 50.5, 60, None, "memory", {"mac.int8": 60, "dram.read_byte": 10}
)
RUN = Run(
    outputs={"y": np.zeros((2, 3), np.float32)},
    layers=(CONV, DENSE),
    cycles=150.0,
    time_s=1.5e-7,
    actions={"static.second": 150},
    warnings=("T = 32 timesteps",),
)


def report(run: Run = RUN, **changes: Any) -> Report:
    given: dict[str, Any] = {"model": "m", "target": "t", "family": "systolic"}
    given |= {"command": "simulate m", "cost": COST, "macs": 700}
    return assemble(run, **{**given, **changes})


def test_energy_is_actions_times_cost_by_unit() -> None:
    energy = price({"mac.int8": 700, "dram.read_byte": 10, "static.second": 150}, COST)
    # 700 * 0.5 = 350, 10 * 20 = 200, 150 * 3 = 450
    assert energy.by_unit == {"dram": 200.0, "mac": 350.0, "static": 450.0}
    assert energy.total_pj == 1000.0
    assert energy.warnings == ()


def test_an_action_without_a_price_is_an_error() -> None:
    with pytest.raises(SpecError) as caught:
        price({"mac.int8": 1, "mac.int4": 0}, COST)
    assert str(caught.value) == (
        "cost must list every action, not leave out mac.int4; did you mean 'mac.int8'?"
    )
    with pytest.raises(SpecError) as caught:
        price({"zap.a": 1, "adc.convert": 1}, COST)
    assert str(caught.value) == (
        "cost must list every action, not leave out adc.convert, zap.a; "
        "add its price, or null where no source gives one"
    )


def test_a_report_of_an_action_without_a_price_is_an_error() -> None:
    planted = replace(RUN, layers=(replace(CONV, actions={"mac.int8": 1, "noc.hop": 2}), DENSE))
    with pytest.raises(SpecError) as caught:
        report(planted)
    assert str(caught.value) == (
        "cost must list every action, not leave out noc.hop; "
        "add its price, or null where no source gives one"
    )


def test_a_null_price_gives_a_null_total_and_a_warning_that_names_it() -> None:
    energy = price({"mac.int8": 2, "dram.read_byte": 1, "dram.write_byte": 1}, COST)
    assert energy.total_pj is None
    assert energy.by_unit == {"dram": None, "mac": 1.0}
    assert energy.warnings == (
        "the energy total is null: no source gives the price of dram.write_byte",
    )


def test_nothing_done_costs_nothing_whatever_the_price() -> None:
    energy = price({"mac.int8": 2, "dram.write_byte": 0}, COST)
    assert (energy.total_pj, energy.by_unit, energy.warnings) == (
        1.0,
        {"dram": 0, "mac": 1.0},
        (),
    )


@given(
    st.dictionaries(st.sampled_from(["a.x", "a.y", "b.x"]), st.integers(0, 1 << 40)),
    st.integers(1, 5),
)
def test_energy_is_linear_in_the_counts(counts: dict[str, int], times: int) -> None:
    cost = {"a.x": 0.25, "a.y": 2.0, "b.x": 16.0}  # powers of two: nothing is rounded
    one, many = price(counts, cost), price(summed([counts] * times), cost)
    assert one.total_pj is not None
    assert many.total_pj == times * one.total_pj


def test_the_json_has_the_fields_of_the_contract() -> None:
    check = CrossCheck("bit_exact", 0, 0.0, None, passed=True)
    accuracy = Accuracy(0.98, 0.975, 0.01, 5, 450)
    source = Provenance("clock", "700", "MHz", "section 2", "published")
    made = report(
        seed=7,
        batch=2,
        area_mm2=331.0,
        accuracy=accuracy,
        cross_check=check,
        ranges={"mac.int8": (0.25, 0.75)},
        provenance=[source],
    )
    expected = {
        "schema": "tetrapla.report/1",
        "model": "m",
        "target": "t",
        "family": "systolic",
        "command": "simulate m",
        "seed": 7,
        "batch": 2,
        "cycles": 150,
        "time_s": 1.5e-07,
        "energy_pj": {
            "total": 1000.0,
            "by_unit": {"dram": 200.0, "mac": 350.0, "static": 450.0},
            "range": [825.0, 1175.0],  # 700 MACs at half and one and a half times their price
        },
        "area_mm2": 331.0,
        "accuracy": {
            "reference": 0.98,
            "target": 0.975,
            "target_std": 0.01,
            "seeds": 5,
            "samples": 450,
        },
        "cross_check": {
            "kind": "bit_exact",
            "mismatches": 0,
            "max_rel_error": 0.0,
            "bound": None,
            "passed": True,
        },
        "layers": [
            {
                "name": "conv1",
                "op": "qnn.conv2d",
                "cycles": 100,
                "macs": 640,
                "utilization_frac": 0.8,
                "bound_by": "compute",
                "energy_pj": 320.0,
                "traffic_bytes": None,
            },
            {
                "name": "dense",
                "op": "qnn.matmul",
                "cycles": 50.5,
                "macs": 60,
                "utilization_frac": None,
                "bound_by": "memory",
                "energy_pj": 230.0,
                "traffic_bytes": 10,
            },
        ],
        "warnings": ["T = 32 timesteps"],
        "provenance": [
            {
                "field": "clock",
                "value": "700",
                "unit": "MHz",
                "source": "section 2",
                "grade": "published",
            }
        ],
    }
    assert made.to_dict() == expected
    assert list(made.to_dict()) == list(expected)
    assert json.loads(made.to_json()) == expected


def test_what_is_unknown_is_null() -> None:
    made = report().to_dict()
    assert [made[name] for name in ("area_mm2", "accuracy", "cross_check")] == [None] * 3
    assert made["energy_pj"]["range"] is None


def test_the_order_of_the_actions_does_not_show() -> None:
    turned = replace(DENSE, actions=dict(reversed(list(DENSE.actions.items()))))
    assert report(replace(RUN, layers=(CONV, turned))).to_json() == report().to_json()


def test_numpy_scalars_are_written_as_numbers() -> None:
    counted = replace(CONV, macs=np.int64(640), cycles=np.float64(100))  # type: ignore[arg-type]
    assert report(replace(RUN, layers=(counted, DENSE))).to_json() == report().to_json()


def _conv(**changes: Any) -> Run:
    return replace(RUN, layers=(replace(CONV, **changes), DENSE))


@pytest.mark.parametrize(
    ("run", "message"),
    [
        (_conv(macs=639), "macs of the layers must be the model's 700, not 699"),
        (_conv(cycles=79), "cycles of conv1 must be at least 80, not 79"),
        (_conv(cycles=float("nan")), "cycles of conv1 must be finite, not nan"),
        (_conv(utilization_frac=1.01), "utilization_frac of conv1 must be at most 1, not 1.01"),
        (_conv(actions={"mac.int8": -1}), "mac.int8 of conv1 must be at least 0, not -1"),
        (replace(RUN, time_s=float("inf")), "time_s of the run must be finite, not inf"),
        (replace(RUN, cycles=-1), "cycles of the run must be at least 120, not -1"),
        (replace(RUN, cycles=119), "cycles of the run must be at least 120, not 119"),
        (
            replace(RUN, actions={"static.second": float("nan")}),
            "static.second of the run must be finite, not nan",
        ),
    ],
)
def test_a_run_that_cannot_be_is_an_internal_error(run: Run, message: str) -> None:
    with pytest.raises(InternalError) as caught:
        report(run, least_cycles={"conv1": 80, "": 120})
    assert str(caught.value) == message
    assert not isinstance(caught.value, TetraplaError)


def test_a_negative_energy_is_an_internal_error() -> None:
    with pytest.raises(InternalError) as caught:
        report(cost={**COST, "mac.int8": -1.0})
    assert str(caught.value) == "energy_pj of mac must be at least 0, not -700.0"


def test_a_dropped_layer_is_found_by_its_macs() -> None:
    with pytest.raises(InternalError) as caught:
        check_invariants(replace(RUN, layers=(CONV,)), macs=700)
    assert str(caught.value) == "macs of the layers must be the model's 700, not 640"


def test_nan_is_never_written() -> None:
    made = replace(report(), area_mm2=float("nan"))
    with pytest.raises(InternalError) as caught:
        made.to_json()
    assert str(caught.value) == "report.area_mm2 must be finite, not nan"


def test_a_notebook_gets_escaped_html_without_addresses() -> None:
    run = replace(RUN, layers=(replace(CONV, name="<script>"), DENSE), warnings=("a & b",))
    html = report(run, model="<b>")._repr_html_()  # pyright: ignore[reportPrivateUsage]
    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "&lt;b&gt; on t" in html
    assert "a &amp; b" in html
    assert "http" not in html


def test_layers_become_a_data_frame() -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    frame = report().layers.to_pandas()
    assert isinstance(frame, pandas.DataFrame)
    assert list(frame["macs"]) == [640, 60]


def test_layers_without_pandas_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(UnsupportedError) as caught:
        report().layers.to_pandas()
    assert str(caught.value) == (
        "to_pandas needs pandas, which is not installed; pip install pandas"
    )


def test_a_report_says_how_much_of_its_energy_is_assumed() -> None:
    # of 10 x 3 + 2 x 10 + 1 x 50 pJ: 20 and 50
    actions, cost = {"mac.op": 10, "sram.read": 2, "static.second": 1}, {
        "mac.op": 3.0, "sram.read": 10.0, "static.second": 50.0, "dram.read": None
    }  # fmt: skip
    assert weak_warnings(actions, cost, ["sram.read", "static.second", "dram.read"]) == (
        "70 % of the energy rests on assumed prices, most of it on static.second "
        "(chip.static_power); 2 of 3 prices are assumed",
    )
    assert weak_warnings(actions, cost, []) == ()
    assert weak_warnings({**actions, "dram.read": 1}, cost, ["sram.read"]) == ()
