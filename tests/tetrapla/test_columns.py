"""The one list of a comparison's columns: values by hand, the best, the front, and widths."""

from __future__ import annotations

import csv
import io
from typing import Any

import pytest

from tetrapla import quantities
from tetrapla.columns import columns, edp_pj_s, every, names, pareto, throughput_per_s
from tetrapla.comparison import Comparison, Skipped, csv_of, verdict
from tetrapla.table import fitted


def facts(target: str = "t", **changed: Any) -> dict[str, Any]:
    """What the columns read of a report: a microsecond, 6 pJ, 99 % of the answers."""
    check = {"kind": "bit_exact", "mismatches": 0, "max_rel_error": None, "bound": None}
    found = {
        "model": "m",
        "target": target,
        "family": "systolic",
        "batch": 1,
        "cycles": 700,
        "time_s": 1e-6,
        "energy_pj": {"total": 6.0, "by_unit": {"mac": 6.0}, "range": None},
        "area_mm2": 100.0,
        "accuracy": {"reference": 1.0, "target": 0.99, "target_std": None},
        "cross_check": {**check, "passed": True},
        "layers": [{"bound_by": "array", "cycles": 700}],
    }
    return {**found, **changed}


def energy(total: float | None) -> dict[str, Any]:
    return {"total": total, "by_unit": {"mac": total}, "range": None}


def cells(reports: list[dict[str, Any]]) -> dict[str, list[str]]:
    return {each.heading: [each.text(r) for r in reports] for each in columns(reports)}


def test_a_batch_is_shared_by_its_inferences() -> None:
    # 8 inferences in 1 us and 6 pJ: 8 M/s, 0.75 pJ each, x 1 us
    eight = facts(batch=8)
    assert throughput_per_s(eight) == pytest.approx(8e6)
    assert edp_pj_s(eight) == pytest.approx(0.75e-6)
    shown = cells([facts(), eight])
    assert shown["batch"] == ["1", "8"]
    assert shown["throughput"] == ["1.00 M/s", "8.00 M/s"]
    assert shown["energy"] == ["6.00 pJ", "750 fJ"]
    assert names([facts(), eight]) == ["t (batch 1)", "t (batch 8)"]


def test_a_pipeline_is_as_fast_as_its_slowest_stage() -> None:
    # an invocation takes 1 us, and the next starts 0.1 us after it
    assert throughput_per_s(facts(batch=2, interval_s=1e-7)) == pytest.approx(2e7)


def test_what_is_unknown_is_not_zero() -> None:
    unknown = facts(energy_pj=energy(None), area_mm2=None, accuracy=None, time_s=0.0)
    shown = cells([unknown])
    for heading in ("throughput", "energy", "EDP", "area", "accuracy"):
        assert shown[heading] == ["n/a"]
    row = next(csv.DictReader(io.StringIO(csv_of([unknown]))))
    assert row["throughput_per_s"] == row["edp_pj_s"] == row["accuracy_target"] == ""


def test_a_format_is_shown_where_several_were_asked_for() -> None:
    both = [facts(quant="int8"), facts(quant="int4")]
    assert cells(both)["quant"] == ["int8", "int4"]
    assert "quant" not in cells([facts(quant="int8")])
    assert names(both) == ["t (int8)", "t (int4)"]


def test_the_best_of_a_column() -> None:
    held = [facts(), facts(time_s=2e-6), facts(time_s=1e-6, energy_pj=energy(None))]
    best = {each.heading: each.best(held) for each in columns(held)}
    assert best["latency"] == {0, 2}
    assert best["throughput"] == {0, 2}
    assert best["energy"] == set()  # all that are known are the same
    assert best["target"] == set()


def test_the_front_is_of_what_is_known() -> None:
    # b is faster, c as fast as a and worse; d's energy is not known
    held = [
        facts("a"),
        facts("b", time_s=1e-7, energy_pj=energy(60.0)),
        facts("c", energy_pj=energy(7.0)),
        facts("d", energy_pj=energy(None)),
    ]
    assert pareto(held) == [True, True, False, False]
    assert cells(held)["front"] == ["*", "*", "", ""]
    assert verdict(held) == (
        "Lowest latency: b (100 ns); lowest energy: a (6.00 pJ); highest accuracy: all "
        "(99.0 %). On the Pareto front of latency, energy and accuracy: a and b. Without "
        "energy, which is not known, no judgement of d. Every machine agrees with the "
        "reference interpreter within its bound."
    )


def test_fronts_are_apart_where_models_are() -> None:
    worse = facts("b", model="other", time_s=1.0)
    assert pareto([facts("a"), worse]) == [True, True]


def test_nobody_is_on_a_front_that_nobody_is_known_for() -> None:
    held = [facts("a", accuracy=None), facts("b", energy_pj=energy(None))]
    assert (
        "There is no Pareto front: of nobody all of latency, energy and accuracy are known."
        in (verdict(held))
    )


@pytest.mark.parametrize("key", [column.key for column in every() if column.heading])
def test_every_column_says_what_it_is(key: str) -> None:
    (column,) = [each for each in every() if each.key == key]
    assert len(column.about) > 20
    assert not column.about.endswith(".")


def test_a_narrow_table_leaves_out_columns_in_one_order() -> None:
    held = [facts("tpu-v1"), facts("isaac", time_s=2e-6)]
    gone = [tuple(fitted(held, width)[1]) for width in range(140, 20, -1)]
    assert list(dict.fromkeys(gone)) == [
        (),
        ("EDP",),
        ("EDP", "area"),
        ("EDP", "area", "bound by"),
        ("throughput", "EDP", "area", "bound by"),
    ]


def test_what_options_add_goes_below_before_anything_goes() -> None:
    scaled = {"to": "7 nm", "energy_pj": 3.0, "area_mm2": 10.0}
    co2 = {"region": "DEU", "operational_g": 2e-9}
    held = [facts(t, normalised=scaled, co2=co2) for t in ("tpu-v1", "isaac")]
    wide, left = fitted(held, 200)
    assert (len(wide), left) == (1, [])
    (first, second), left = fitted(held, 110)
    assert left == []
    assert [column.heading for column, _ in second] == [
        *("target", "energy @ 7 nm", "area @ 7 nm", "CO2/million")
    ]
    assert dict((c.heading, texts) for c, texts in second)["CO2/million"] == ["2.00 mg"] * 2
    assert "CO2/million" not in [column.heading for column, _ in first]


def test_masses_have_prefixes_and_tonnes() -> None:
    texts = [quantities.mass(grams) for grams in (None, 0.0152, 12.0, 4500.0, 2.5e6)]
    assert texts == ["n/a", "15.2 mg", "12.0 g", "4.50 kg", "2.50 t"]


def test_what_was_left_out_stands_together_by_its_reason() -> None:
    left = tuple(
        Skipped("m", t, 1, "fp16", why) for t, why in [("a", "x"), ("b", "y"), ("c", "x")]
    )
    assert Comparison((), left).reasons() == {
        "x": ["m on a (batch 1, fp16)", "m on c (batch 1, fp16)"],
        "y": ["m on b (batch 1, fp16)"],
    }
