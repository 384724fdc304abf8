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

from tetrapla.grid import front
from tetrapla.ir.errors import ModelError
from tetrapla.ranges import parse_grid

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
            "accuracy, area",
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
