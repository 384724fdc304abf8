"""Models x machines x batches x formats: the order, what cannot be done, and any executor."""

from __future__ import annotations

import json
import operator
import pickle
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

import tetrapla
from tetrapla.backends.target_ import families
from tetrapla.compared import chosen_executor
from tetrapla.designs import design
from tetrapla.executors.adaptive import Adaptive
from tetrapla.executors.local import Processes, Serial
from tetrapla.ir.errors import ModelError
from tetrapla.settings import parse_batches, parse_formats

Cli = Callable[..., tuple[int, str, str]]
Refused = Callable[..., None]
FORMAT = "--quant must be a format of the array, int8 or int4 or int16, not fp16"


def words(model: str, *more: str) -> list[str]:
    return ["compare", model, "--data", "digits", "--samples", "8", *more]


def test_rows_come_by_model_machine_batch_and_format(
    cli: Cli, mlp: str, cnn: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    asked = words(mlp, cnn, "--targets", "edge-tpu,tpu-v1", "--batch", "1,4")
    asked += ["--quant", "int8,int4", "--json", str(path)]
    status, out, err = cli(*asked)
    assert (status, err) == (0, "")
    reports = json.loads(path.read_text("utf-8"))["reports"]
    found = [(r["model"], r["target"], r["batch"], r["quant"]) for r in reports]
    assert found == [
        (model, target, batch, quant)
        for model in ("digits_mlp", "digits_cnn")
        for target in ("edge-tpu", "tpu-v1")
        for batch in (1, 4)
        for quant in ("int8", "int4")
    ]
    said = f"tetrapla compare {mlp} {cnn} --targets edge-tpu,tpu-v1 --data digits --samples 8"
    assert {r["command"] for r in reports} == {f"{said} --quant int8,int4 --batch 1,4"}
    headings = out.splitlines()[1].split()
    assert headings[:3] == ["target", "batch", "quant"]
    # one report of the list is what simulate gives
    alone = tetrapla.simulate(mlp, "tpu-v1", data="digits", samples=8, batch=4, quant="int4")
    same = {**reports[7], "command": "", "quant": ""}
    assert same == {**alone.to_dict(), "command": "", "quant": ""}


def test_single_values_add_no_column_and_no_key(cli: Cli, mlp: str, tmp_path: Path) -> None:
    path = tmp_path / "out.json"
    asked = words(mlp, "--targets", "tpu-v1", "--batch", "2", "--quant", "int4")
    assert cli(*asked, "--json", str(path))[0] == 0
    (report,) = json.loads(path.read_text("utf-8"))["reports"]
    assert "quant" not in report
    assert report["command"].endswith("--quant int4 --batch 2")


def test_everything_that_cannot_be_done_is_one_error_before_the_work(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    asked = words(mlp, "--targets", "tpu-v1,isaac", "--quant", "int8,fp16")
    status, out, err = cli(*asked, "--json", str(path))
    assert (status, out, path.exists()) == (2, "", False)
    assert err == (
        "error: 2 of 4 rows cannot be computed; --on-unsupported skip leaves them out\n"
        f"  digits_mlp on tpu-v1 (batch 1, fp16): tpu-v1: {FORMAT}; leave --quant out or take "
        "another chip\n"
        "  digits_mlp on isaac (batch 1, fp16): isaac: the number format must be int8 or int4, "
        "not fp16; leave --quant out\n"
    )


def test_what_cannot_be_done_may_be_left_out_and_named(
    cli: Cli, mlp: str, tmp_path: Path
) -> None:
    path = tmp_path / "out.json"
    page = tmp_path / "out.html"
    asked = words(mlp, "--targets", "tpu-v1", "--quant", "int8,fp16", "--batch", "1,2")
    asked += ["--report", str(page)]
    status, out, _ = cli(*asked, "--on-unsupported", "skip", "--json", str(path))
    assert status == 0
    found = json.loads(path.read_text("utf-8"))
    assert [(r["batch"], r["quant"]) for r in found["reports"]] == [(1, "int8"), (2, "int8")]
    why = f"tpu-v1: {FORMAT}; leave --quant out or take another chip"
    assert found["skipped"] == [
        {"model": "digits_mlp", "target": "tpu-v1", "batch": b, "quant": "fp16", "why": why}
        for b in (1, 2)
    ]
    who = "digits_mlp on tpu-v1 (batch 1, fp16), digits_mlp on tpu-v1 (batch 2, fp16)"
    assert f"left out: {who}: {why}\n" in out
    assert f"<li>{who}: {why}</li>" in page.read_text("utf-8")


def test_nothing_left_is_an_error(refused: Refused, mlp: str) -> None:
    refused(
        "--on-unsupported skip must leave at least one row, not none of 1; the first, "
        f"digits_mlp on tpu-v1 (batch 1, fp16): tpu-v1: {FORMAT}; leave --quant out or take "
        "another chip",
        *words(mlp, "--targets", "tpu-v1", "--quant", "fp16", "--on-unsupported", "skip"),
    )


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (("--batch", "1,x"), "--batch must be a whole number, not 'x'"),
        (("--batch", "1,0"), "--batch must be at least 1, not 0"),
        (("--batch", "4,4"), "--batch must name 4 once, not twice; drop one of them"),
        (("--quant", "int8,int8"), "--quant must name int8 once, not twice; drop one of them"),
        (
            ("--quant", "int8", "--quant", "int9"),
            "--quant must be int8, int4, int16, fp32, tf32, bf16, fp16, fp8, none or a "
            "pipeline like 'canonical,quantize{weights=i4}', not 'int9'; did you mean 'int8'?",
        ),
        (("--on-unsupported", "host"), "--on-unsupported must be error or skip, not 'host'"),
    ],
)
def test_wrong_lists_are_refused(
    more: Sequence[str], message: str, refused: Refused, mlp: str
) -> None:
    refused(message, *words(mlp, "--targets", "tpu-v1", *more))


def test_a_pipeline_is_one_format() -> None:
    pipeline = "canonical,quantize{weights=i4}"
    assert parse_formats([pipeline, "int8,int4"]) == (pipeline, "int8", "int4")
    assert parse_formats([]) == (None,)
    assert parse_batches(["1,8", "32"]) == (1, 8, 32)


def test_processes_give_the_serial_bytes(cli: Cli, mlp: str, tmp_path: Path) -> None:
    asked = words(mlp, "--targets", "tpu-v1,h100,loihi,isaac", "--json")
    for name in ("serial", "processes:2"):
        assert cli(*asked, str(tmp_path / name), "--executor", name)[0] == 0
    serial, parallel = ((tmp_path / n).read_bytes() for n in ("serial", "processes:2"))
    assert serial == parallel


@pytest.mark.parametrize("family", families())
def test_a_design_of_every_family_goes_to_another_process(family: str) -> None:
    sent = design(family)
    there = pickle.loads(pickle.dumps(sent))
    assert there.target is sent.target
    assert (there.label, there.chip) == (sent.label, sent.chip)


@pytest.mark.parametrize("patience_s", [0.0, 1e9])
def test_adaptive_does_each_once_wherever_it_does_it(patience_s: float) -> None:
    done = list(Adaptive(2, patience_s).run(operator.mul, 2, [5, 6, 7]))
    assert sorted(done) == [(0, 10), (1, 12), (2, 14)]


class Told:
    """Executors that Adaptive chose."""

    def __init__(self) -> None:
        self.counts: list[int] = []

    def __call__(self, count: int) -> Any:
        self.counts.append(count)
        return self

    def run(self, work: Any, shared: Any, items: Sequence[Any]) -> Iterator[tuple[int, Any]]:
        return Serial().run(work, shared, items)


@pytest.mark.parametrize(
    ("count", "patience_s", "items", "processes"),
    [(4, 0.0, 3, [3]), (2, 0.0, 9, [2]), (1, 0.0, 9, []), (4, 1e9, 9, []), (4, 0.0, 1, [])],
)
def test_adaptive_starts_processes_where_they_pay(
    count: int,
    patience_s: float,
    items: int,
    processes: list[int],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told = Told()
    monkeypatch.setattr("tetrapla.executors.adaptive.Processes", told)
    done = list(Adaptive(count, patience_s).run(operator.mul, 1, list(range(items))))
    assert (told.counts, done) == (processes, [(i, i) for i in range(items)])


def test_the_environment_has_the_default_executor(monkeypatch: pytest.MonkeyPatch) -> None:
    assert isinstance(chosen_executor(None), Serial)  # as the tests' own environment says
    assert isinstance(chosen_executor("processes:2"), Processes)
    monkeypatch.delenv("TETRAPLA_EXECUTOR")
    assert isinstance(chosen_executor(None), Adaptive)
    monkeypatch.setenv("TETRAPLA_EXECUTOR", "fast")
    with pytest.raises(ModelError, match="--executor must be serial, processes"):
        chosen_executor(None)


def test_python_takes_lists(mlp: str) -> None:
    found = tetrapla.compare(mlp, "tpu-v1", batch=[1, 2], quant=["int8", "int4"], samples=2)
    assert [(r.batch, r.more["quant"]) for r in found] == [
        *((1, "int8"), (1, "int4"), (2, "int8"), (2, "int4"))
    ]
    assert found.reports[0].command.endswith("--samples 2 --quant int8,int4 --batch 1,2")
