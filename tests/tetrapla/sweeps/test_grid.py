"""A grid of designs: every point is a run of its own, and the front is what none beats."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.errors import ModelError
from tetrapla.pareto import front
from tetrapla.sweeps.ranges import parse_grid

Cli = Callable[..., Any]
Refused = Callable[..., None]


def test_every_point_is_run_and_the_front_marked(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    words = ["sweep", mlp, "--target", "loihi", "--data", "digits", "--samples", 10]
    done = cli(*words, "--set", "timesteps=4,8", "--set", "batch=1,2", "--json", path)
    assert done.status == 0
    found = json.loads(path.read_text("utf-8"))
    assert list(found) == ["schema", "objectives", "points"]
    assert found["schema"] == "tetrapla.sweep/1"
    assert found["objectives"] == ["latency", "energy", "accuracy"]
    settings = [point["settings"] for point in found["points"]]
    assert settings == [
        {"timesteps": t, "batch": b} for t, b in product(("4", "8"), ("1", "2"))
    ]
    times = [point["report"]["time_s"] for point in found["points"]]
    assert times[0] < times[2]
    assert [point["report"]["batch"] for point in found["points"]] == [1, 2, 1, 2]
    assert found["points"][0]["pareto"]
    assert found["points"][0]["report"]["command"] == (
        f"tetrapla simulate {mlp} --target loihi --data digits --samples 10 --timesteps 4 "
        "--batch 1"
    )
    assert "note: loihi: 4 timesteps" in done.out


def test_chip_fields_take_quantities_and_ranges(cli: Cli, mlp: str) -> None:
    words = ["sweep", mlp, "--target", "tpu-v1", "--samples", 1]
    out = cli(*words, "--set", "clock=700 MHz, 1 GHz", "--set", "array.rows=8:9").out
    assert [line.split()[:3] for line in out.splitlines()[3:7]] == [
        ["700", "MHz", "8"],
        ["700", "MHz", "9"],
        ["1", "GHz", "8"],
        ["1", "GHz", "9"],
    ]


@pytest.mark.parametrize(
    ("message", "flags"),
    [
        ("Missing option '--set'; 'tetrapla sweep --help' says what there is", []),
        *(
            (
                f"--set must be FIELD=V1,V2 or FIELD=A:B, not '{text}'; write array.rows=16,32",
                ["--set", text],
            )
            for text in ("timesteps", "timesteps=", "=4", "timesteps=4,", "")
        ),
        (
            "--set must name 'timesteps' once, not twice; join its values",
            ["--set", "timesteps=4", "--set", "timesteps=8"],
        ),
        (
            "--set must give each value once, not '4' 2 times in 'timesteps=4,4'",
            ["--set", "timesteps=4,4"],
        ),
        ("--set timesteps must be a whole number, not 'x'", ["--set", "timesteps=x"]),
        ("--timesteps must be at least 1, not 0", ["--set", "timesteps=4,0"]),
        (
            "--set A:B must be two numbers of one unit, and a step or a factor may follow, "
            "not 'timesteps=a:b'; write 16:256:*2 or list the values",
            ["--set", "timesteps=a:b"],
        ),
        (
            "--set A:B must go upwards over at most 100000 values, not 'timesteps=8:4'; "
            "list fewer values",
            ["--set", "timesteps=8:4"],
        ),
        (
            "sweep must have at most 100000 points, not 160000; --trials N searches them",
            ["--set", "timesteps=1:400", "--set", "batch=1:400"],
        ),
        (
            "no objective 'laten'; did you mean 'latency', or another of: latency, energy, "
            "accuracy, area, dynamic_energy",
            ["--set", "timesteps=4", "--objective", "laten"],
        ),
        (
            "--objective accuracy must be known, not n/a; give --data with labels or drop it",
            ["--set", "timesteps=4", "--objective", "latency,accuracy"],
        ),
        (
            "--objective area must be known, not n/a; give --set chip.area=… or drop it",
            ["--set", "timesteps=4", "--set", "chip.area=null", "--objective", "area"],
        ),
    ],
)
def test_a_mistake_gets_one_sentence(
    refused: Refused, mlp: str, tmp_path: Path, message: str, flags: list[str]
) -> None:
    refused(message, "sweep", mlp, "--target", "loihi", *flags, "--json", tmp_path / "s.json")
    assert list(tmp_path.iterdir()) == []


def test_a_grid_keeps_the_order_of_its_values() -> None:
    assert parse_grid(["a.b=3, 1,2", "c = 1 : 3"]) == {
        "a.b": ("3", "1", "2"),
        "c": ("1", "2", "3"),
    }


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("a=16:256:*2", "16 32 64 128 256"),
        ("a=16:255:*2", "16 32 64 128"),
        ("a=2:9:3", "2 5 8"),
        ("a=0.5:2:0.5", "0.5 1.0 1.5 2.0"),
        ("a=100MHz:900MHz:*3", "100MHz 300MHz 900MHz"),
        ("a=7:7", "7"),
    ],
)
def test_a_range_goes_by_steps_or_by_factors(text: str, values: str) -> None:
    assert parse_grid([text]) == {"a": tuple(values.split())}


@pytest.mark.parametrize("text", ["1MHz:2GHz", "1:2:", "1:2:*", "-1:2", "1:2:3:4", "1e3:2e3"])
def test_a_range_that_is_none_is_refused(text: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_grid([f"a={text}"])
    assert str(refused.value) == (
        "--set A:B must be two numbers of one unit, and a step or a factor may follow, not "
        f"'a={text}'; write 16:256:*2 or list the values"
    )


@pytest.mark.parametrize("text", ["2:1", "1:2:0", "1:4:*1", "1:4:*0.5", "0:4:*2", "1:999999"])
def test_a_range_that_does_not_end_is_refused(text: str) -> None:
    with pytest.raises(ModelError) as refused:
        parse_grid([f"a={text}"])
    assert str(refused.value) == (
        f"--set A:B must go upwards over at most 100000 values, not 'a={text}'; "
        "list fewer values"
    )


numbers = st.floats(0, 10) | st.none()


@given(st.lists(st.tuples(numbers, numbers), min_size=1, max_size=8))
def test_the_front_is_what_no_other_point_beats(rows: list[tuple[float | None, ...]]) -> None:
    found = front(rows)
    known = [row for row in rows if None not in row]
    for row, on in zip(rows, found, strict=True):
        beaten = any(
            other != row and all(x <= y for x, y in zip(other, row, strict=True))  # type: ignore[operator]
            for other in known
            if None not in row
        )
        assert on == (None not in row and not beaten)
    assert any(found) == bool(known)


@pytest.mark.parametrize(
    ("text", "values"),
    [
        ("1:100:log3", ("1", "10", "100")),
        ("1:9:lin5", ("1", "3", "5", "7", "9")),
        ("1:4:log5", ("1", "2", "3", "4")),  # rows are whole, so some fall together
        ("0.5V:2.0V:lin4", ("0.5V", "1V", "1.5V", "2.0V")),
        ("100MHz:1600MHz:log5", ("100MHz", "200MHz", "400MHz", "800MHz", "1600MHz")),
    ],
)
def test_so_many_values_have_both_ends(text: str, values: tuple[str, ...]) -> None:
    assert parse_grid([f"a={text}"]) == {"a": values}


@pytest.mark.parametrize("text", ["1:9:lin1", "0:9:log3", "9:1:lin3", "1:9:log"])
def test_so_many_values_must_be_possible(text: str) -> None:
    with pytest.raises(ModelError, match=r"^--set A:B must "):
        parse_grid([f"a={text}"])


def test_fields_of_the_quantisation_are_swept(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "s.json"
    words = ["sweep", mlp, "--target", "isaac", "--data", "digits", "--samples", 10]
    done = cli(*words, "--set", "quant.weights=i8,i4", "--ideal", "--json", path)
    assert done.status == 0
    reports = [each["report"] for each in json.loads(path.read_text("utf-8"))["points"]]
    assert reports[0]["energy_pj"]["total"] > reports[1]["energy_pj"]["total"]
    plain = tmp_path / "plain.json"
    cli("simulate", *words[1:], "--ideal", "--json", plain)
    alone = json.loads(plain.read_text("utf-8"))
    assert alone["energy_pj"] == reports[0]["energy_pj"], "i8 is what int8 is anyway"


@pytest.mark.parametrize(
    ("message", "target", "text"),
    [
        (
            "--set quant.bits: quantize: bits must be 8 or 16, not 2; weights of fewer are "
            "weights=i4",
            "tpu-v1",
            "quant.bits=2:8",
        ),
        (
            "--set quant.weight: no option 'weight' of quantize; did you mean 'weights'?; "
            "there are: bits, weights, activations, method, percentile_pct, rounding, group, "
            "per_channel, correct_bias, all_operators, whole",
            "tpu-v1",
            "quant.weight=i4",
        ),
        (
            "--set quant.… must come with a format that loihi quantises to, none, not int8; "
            "leave it out",
            "loihi",
            "quant.weights=i4",
        ),
    ],
)
def test_a_wrong_field_of_the_quantisation_is_refused(
    refused: Refused, mlp: str, message: str, target: str, text: str
) -> None:
    refused(message, "sweep", mlp, "--target", target, "--samples", 1, "--set", text)
