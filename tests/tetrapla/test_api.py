"""The package from Python: the functions of the public contract."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.ir.errors import ModelError, RegistryError, SpecError
from tetrapla.ir.module import Module


@pytest.fixture(scope="module")
def module(mlp: str) -> Module:
    return tetrapla.load(mlp)


def html(shown: Any) -> str:
    """What a notebook shows."""
    text: str = shown._repr_html_()
    return text


@pytest.fixture(scope="module")
def images() -> dict[str, Any]:
    x = np.random.default_rng(0).random((6, 1, 1, 8, 8), np.float32)
    return {"image": x}


def test_an_executable_runs_and_shows_itself(module: Module, images: dict[str, Any]) -> None:
    executable = tetrapla.compile(module, "tpu-v1", images)
    report = executable.run(images)
    assert report.cross_check is not None
    assert report.cross_check.passed
    assert report.command == ""
    assert json.loads(report.to_json()) == report.to_dict()
    assert list(report.layers.to_pandas()["name"]) == [row.name for row in report.layers]
    assert "<table" in html(report)
    assert report.outputs["logits"].shape == (6, 1, 10)


def test_one_invocation_needs_no_axis_of_its_own(
    module: Module, images: dict[str, Any]
) -> None:
    executable = tetrapla.compile(module, "h100")
    alone = executable.run({"image": images["image"][0]})
    assert alone.outputs["logits"].shape == (1, 1, 10)
    assert np.array_equal(
        alone.outputs["logits"][0], executable.run(images).outputs["logits"][0]
    )
    with pytest.raises(ModelError) as caught:
        executable.run({"image": images["image"][0, 0]})
    assert str(caught.value) == (
        "input 'image' must have the shape [1, 1, 8, 8], or that behind an axis of "
        "invocations, not [1, 8, 8]; reshape it"
    )


def test_a_noisy_machine_is_seeded(module: Module, images: dict[str, Any]) -> None:
    executable = tetrapla.compile(module, "isaac", images)
    first, again, other = (executable.run(images, seed=seed) for seed in (3, 3, 4))
    assert np.array_equal(first.outputs["logits"], again.outputs["logits"])
    assert not np.array_equal(first.outputs["logits"], other.outputs["logits"])


def test_compare_takes_paths_and_modules(mlp: str, module: Module) -> None:
    found = tetrapla.compare(mlp, ["tpu-v1", "h100"], data="digits", samples=4)
    assert [report.target for report in found] == ["tpu-v1", "h100"]
    assert found["h100"].command == (
        f"tetrapla compare {mlp} --targets tpu-v1,h100 --data digits --samples 4"
    )
    assert found.passed
    assert found.to_dict()["schema"] == "tetrapla.compare/1"
    assert "bit-exact" in html(found)
    with pytest.raises(RegistryError) as caught:
        found["loihi"]
    assert str(caught.value) == "no report of 'loihi'; there are: tpu-v1, h100"
    # a module has no path, so that no command is claimed to repeat the run
    other = tetrapla.compare(module, "tpu-v1,h100", data="digits", samples=4)
    assert [report.command for report in other] == ["", ""]
    assert other["tpu-v1"].cycles == found["tpu-v1"].cycles


def test_simulate_and_sweep_agree(mlp: str) -> None:
    report = tetrapla.simulate(mlp, "tpu-v1", samples=2, overrides=["array.rows=16"])
    swept = tetrapla.sweep(mlp, "tpu-v1", {"array.rows": [8, 16]}, samples=2)
    # a sweep draws nothing
    assert swept.points[1].report.to_dict() == report.to_dict(sight=False)


def test_builder_makes_a_model_that_runs() -> None:
    build = tetrapla.Builder("tiny")
    build.output("y", build.input("x", (1, 4)).relu())
    module = build.build()
    report = tetrapla.compile(module, "h100").run({"x": np.ones((1, 4), np.float32)})
    assert report.model == "tiny"


def test_wrong_arguments_are_named(module: Module, mlp: str) -> None:
    with pytest.raises(TypeError, match="no option 'sample'; there are: data, calib"):
        tetrapla.simulate(mlp, "h100", sample=3)
    with pytest.raises(ModelError) as caught:
        tetrapla.simulate(module, "h100", batch=3)
    assert str(caught.value) == (
        "a Module has fixed shapes; give dims and batch to load, not here"
    )
    with pytest.raises(ModelError) as caught:
        tetrapla.simulate(module, "loihi", discretisation="zoh")
    assert str(caught.value) == (
        "a Module is read already; give nir to load, not discretisation, dt or repair here"
    )
    with pytest.raises(SpecError, match=r"--set array\.rows must be at least 1, not 0"):
        tetrapla.compile(module, "tpu-v1", overrides=["array.rows=0"])
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        tetrapla.nothing  # noqa: B018


def test_data_may_be_a_path(mlp: str, tmp_path: Path) -> None:
    np.savez(tmp_path / "d.npz", x=np.zeros((2, 64), np.float32), y=np.zeros(2, np.int64))
    report = tetrapla.simulate(mlp, "h100", data=tmp_path / "d.npz")
    assert report.accuracy is not None
    assert report.accuracy.samples == 2


def test_labels_without_classes_are_not_used(tmp_path: Path) -> None:
    build = tetrapla.Builder("image")
    build.output("y", build.input("x", (1, 1, 8, 8)).relu())
    report = tetrapla.simulate(build.build(), "h100", data="digits", samples=2)
    assert report.accuracy is None
    assert report.warnings[0] == (
        "the labels are not used: accuracy needs one output of shape [batch, classes]"
    )


def test_integers_must_fit_the_models_type(tmp_path: Path) -> None:
    build = tetrapla.Builder("whole")
    build.output("y", build.input("x", (1, 4), "i8").relu())
    module = build.build()
    path = tmp_path / "d.npz"
    np.savez(path, x=np.full((3, 4), 200))
    with pytest.raises(ModelError) as caught:
        tetrapla.simulate(module, "h100", data=path)
    assert str(caught.value) == (
        f"{path}: array for 'x' must hold numbers that fit i8, not 200; give data of the "
        "model's own type"
    )


@pytest.mark.parametrize("target", ["tpu-v1", "h100", "loihi", "isaac"])
def test_a_weight_that_is_not_a_number_is_refused_on_every_machine(target: str) -> None:
    b = tetrapla.Builder("m")
    x = b.input("x", (1, 2))
    b.output("y", b.matmul(x, np.array([[np.nan, 1.0], [2.0, np.inf]])))
    inputs = {"x": np.ones((2, 1, 2), np.float32)}
    with pytest.raises(ModelError) as caught:
        tetrapla.compile(b.build(), target, inputs)
    assert str(caught.value) == (
        "weight @matmul_weight must be finite to run on a machine, but 2 of its 4 numbers are "
        "not (the first is nan); mend the model"
    )


@pytest.mark.parametrize("target", ["tpu-v1", "h100", "loihi", "isaac"])
def test_an_empty_tensor_is_refused_on_every_machine(target: str) -> None:
    b = tetrapla.Builder("m")
    b.output("y", b.input("x", (0, 2)).relu(name="r"))
    with pytest.raises(ModelError) as caught:
        tetrapla.compile(b.build(), target, {"x": np.ones((1, 0, 2), np.float32)})
    assert str(caught.value) == (
        "input 'x' must have at least one element to run on a machine, not the shape [0, 2]; "
        "remove it from the model"
    )


def test_inputs_that_are_not_numbers_are_refused(
    module: Module, images: dict[str, Any]
) -> None:
    executable = tetrapla.compile(module, "tpu-v1", images)
    with pytest.raises(ModelError) as caught:
        executable.run({"image": np.full((1, 1, 8, 8), np.nan, np.float32)})
    assert str(caught.value) == "input 'image' must be finite, not NaN or infinite; mend it"


@pytest.mark.parametrize("name", ["m.onnx", "m.mlir", "m.stablehlo.mlir", "m.tosa.mlir"])
def test_a_saved_module_computes_the_same(name: str, mlp: str, tmp_path: Path) -> None:
    module = tetrapla.load(mlp)
    tetrapla.save(module, tmp_path / name)
    again = tetrapla.load(tmp_path / name)
    image = np.random.default_rng(0).random((1, 1, 8, 8), np.float32)
    (before,) = tetrapla.evaluate(module, {"image": image}).values()
    (after,) = tetrapla.evaluate(again, {next(iter(again.inputs)): image}).values()
    assert np.array_equal(before, after)


def test_a_name_that_asks_for_no_form_is_refused(mlp: str, tmp_path: Path) -> None:
    with pytest.raises(ModelError) as caught:
        tetrapla.save(tetrapla.load(mlp), tmp_path / "m.txt")
    assert str(caught.value) == (
        f"a model must be saved as .mlir or .onnx, not '{tmp_path / 'm.txt'}'"
    )
    assert not list(tmp_path.iterdir())
