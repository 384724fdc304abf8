"""`tetrapla run`: precision, values inside, files larger than the memory, and its mistakes."""

from __future__ import annotations

import gc
import io
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.ir import npz
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import gathered
from tetrapla.ir.module import Module
from tetrapla.ir.safetensors import Safetensors, packed
from tetrapla.samples import samples_for
from tetrapla.settings import Settings
from tetrapla.streams import stream

Cli = Callable[..., Any]
Refused = Callable[..., None]


@pytest.fixture
def images(tmp_path: Path, rng: np.random.Generator) -> Path:
    """Three images."""
    path = tmp_path / "x.npz"
    np.savez(path, x=rng.random((3, 8, 8)).astype(np.float32))
    return path


def _image(path: Path, i: int) -> dict[str, Array]:
    with np.load(path) as found:
        return {"image": found["x"][i].reshape(1, 1, 8, 8)}


def test_values_inside_are_written(cli: Cli, cnn: str, images: Path, tmp_path: Path) -> None:
    words = ["run", cnn, "--input", images, "-o", tmp_path / "y.npz", "--keep"]
    done = cli(*words, "relu1,conv3")
    assert done == (
        0,
        "relu1: float32 [3, 1, 8, 8, 8]\n"
        "conv3: float32 [3, 1, 16, 4, 4]\n"
        "logits: float32 [3, 1, 10]\n",
        "",
    )
    module = tetrapla.load(cnn)
    with np.load(tmp_path / "y.npz") as found:
        for i in range(3):
            wanted = tetrapla.evaluate(module, _image(images, i), keep=["relu1", "conv3"])
            assert all(np.array_equal(found[name][i], wanted[name]) for name in wanted)
    assert cli(*words, "all").status == 0
    with np.load(tmp_path / "y.npz") as found:
        assert set(found) == {node.name for node in module.graph.nodes}
    assert cli(*words, "relu") == (
        2,
        "",
        "error: no value 'relu' inside the model; did you mean 'relu3'?; `tetrapla ir` prints "
        "the names\n",
    )


def test_float64_is_written(cli: Cli, cnn: str, images: Path, tmp_path: Path) -> None:
    words = ["run", cnn, "--input", images, "-o", tmp_path / "y.npz", "--precision", "float64"]
    assert cli(*words) == (0, "logits: float64 [3, 1, 10]\n", "")
    wanted = tetrapla.evaluate(tetrapla.load(cnn), _image(images, 2), precision="float64")
    with np.load(tmp_path / "y.npz") as found:
        assert np.array_equal(found["logits"][2], wanted["logits"])


@pytest.mark.parametrize("more", [["--precision", "float64"], ["--keep", "conv1"]])
def test_the_other_engine_has_neither(
    refused: Refused, cnn: str, images: Path, tmp_path: Path, more: list[str]
) -> None:
    message = (
        "engine must be numpy for another precision or for values inside a model, not jit; "
        "drop --engine"
    )
    words = ["--input", images, "-o", tmp_path / "y.npz", "--engine", "jit"]
    refused(message, "run", cnn, *words, *more)


@pytest.mark.parametrize("name", ["y.txt", "y", "y.npz.gz", ".npz"])
def test_another_kind_of_output_is_refused(
    refused: Refused, cnn: str, images: Path, tmp_path: Path, name: str
) -> None:
    path = tmp_path / name
    message = f"--output must be a file in .npz or .safetensors, not '{path}'; rename it"
    refused(message, "run", cnn, "--input", images, "-o", path)
    assert not path.exists()


def test_the_standard_output_gets_the_archive_alone(
    mlp: str, images: Path, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    from tetrapla.__main__ import run

    assert run(["run", mlp, "--input", str(images), "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert err == b"logits: float32 [3, 1, 10]\n"
    with np.load(io.BytesIO(out)) as found:
        assert found["logits"].shape == (3, 1, 10)


def test_a_model_without_weights_is_refused(
    refused: Refused, images: Path, tmp_path: Path
) -> None:
    build = ModuleBuilder("m")
    x, w = build.input("x", (1, 2)), build.shape_of_weight("w", (2, 3), "f32")
    build.output("y", build.op("nn.matmul", [x, w], {"activation": "none"}))
    path = tmp_path / "m.mlir"
    path.write_text(build.finish().text())
    message = (
        "model 'm' must have weights to be computed, not their shapes alone; "
        "export it with its weights"
    )
    refused(message, "run", path, "--input", images, "-o", tmp_path / "y.npz")


def test_samples_that_fill_no_batch_are_told(
    cli: Cli, mlp: str, images: Path, tmp_path: Path
) -> None:
    words = ["run", mlp, "--input", images, "-o", tmp_path / "y.npz", "--batch", 2]
    note = "note: 1 samples left out: they do not fill a batch of 2\n"
    assert cli(*words) == (0, "logits: float32 [2, 10]\n", note)


def _identity(shape: tuple[int, ...], dtype: str = "f32") -> Module:
    build = ModuleBuilder("m")
    build.output("y", build.op("nn.neg", [build.input("x", shape, dtype)]))
    return build.finish()


@pytest.mark.parametrize(
    ("model", "array", "count"),
    [
        ((2, 3), (2, 3), 1),  # one invocation
        ((2, 3), (4, 2, 3), 4),  # invocations
        ((2, 3), (7, 3), 3),  # samples, one too many
        ((2, 4), (6, 2, 2), 3),  # samples of another shape
        ((5,), (2, 5), 2),
        ((), (3,), 3),
        ((), (), 1),
    ],
)
@pytest.mark.parametrize("order", ["C", "F"])
def test_a_stream_is_what_is_read_whole(
    model: tuple[int, ...],
    array: tuple[int, ...],
    count: int,
    order: str,
    tmp_path: Path,
    rng: np.random.Generator,
) -> None:
    path = tmp_path / "x.npz"
    np.savez_compressed(path, x=np.array(rng.random(array), order="F" if order == "F" else "C"))
    module = _identity(model)
    whole = samples_for(module, Settings(data=str(path)))
    found = stream(module, str(path))
    assert found.count == whole.invocations == count
    assert found.warnings == whole.warnings
    rows = list(found)
    assert np.array_equal(np.stack([row["x"] for row in rows]), whole.inputs["x"])
    assert {row["x"].dtype for row in rows} == {np.dtype(np.float32)}
    assert len(list(found)) == count  # it can be read again


def test_a_number_that_does_not_fit_is_named_by_its_sample(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    x = np.zeros((6, 3))
    x[5, 1] = np.nan
    np.savez(path, x=x)
    with pytest.raises(ModelError) as caught:
        list(stream(_identity((2, 3)), str(path)))
    rule = "x must be finite, but sample 5 holds NaN or infinity; drop or mend that sample"
    assert str(caught.value) == f"{path}: {rule}"


def test_inputs_of_different_lengths_are_refused(tmp_path: Path) -> None:
    build = ModuleBuilder("m")
    build.output("y", build.op("nn.add", [build.input("a", (2,)), build.input("b", (2,))]))
    path = tmp_path / "x.npz"
    np.savez(path, a=np.zeros((3, 2)), b=np.zeros((4, 2)))
    with pytest.raises(ModelError) as caught:
        stream(build.finish(), str(path))
    assert str(caught.value) == (
        f"{path}: must hold as many samples for every input, not {{'a': 3, 'b': 4}}"
    )


def test_a_file_beyond_the_limit_of_what_is_read_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.npz"
    x = np.arange(40, dtype=np.float32).reshape(10, 4)
    np.savez(path, x=x)
    monkeypatch.setattr(npz, "MAX_BYTES", 16)  # of one row
    rows = [row["x"] for row in stream(_identity((4,)), str(path))]
    assert np.array_equal(np.stack(rows), x)
    with pytest.raises(ModelError) as caught:
        list(stream(_identity((2, 4)), str(path)))
    assert str(caught.value) == (
        f"{path}: 2 rows of 'x' must be at most 16 bytes together, not 32; split the data"
    )


def test_one_invocation_is_held_at_a_time() -> None:
    module, held = _identity((100,)), list[weakref.ref[Array]]()

    def inputs() -> Iterator[dict[str, Array]]:
        for i in range(5):
            array = np.full(100, i, np.float32)
            held.append(weakref.ref(array))
            yield {"x": array}
            del array
            gc.collect()
            # the caller may still hold the last one
            assert sum(ref() is not None for ref in held[:-1]) == 0

    outputs = gathered(tetrapla.evaluate_batches(module, inputs()), 5)
    assert outputs["y"][:, 0].tolist() == [0, -1, -2, -3, -4]


def test_safetensors_go_in_and_out(cli: Cli, mlp: str, tmp_path: Path) -> None:
    x = np.linspace(0, 1, 128, dtype=np.float32).reshape(2, 64)
    np.savez(tmp_path / "x.npz", x=x)
    (tmp_path / "x.safetensors").write_bytes(packed({"x": x}))
    for form in ("npz", "safetensors"):
        words = ("--input", tmp_path / f"x.{form}", "-o", tmp_path / f"y.{form}")
        assert cli("run", mlp, *words).status == 0
    expected = np.load(tmp_path / "y.npz")
    found = Safetensors(tmp_path / "y.safetensors")
    assert set(found) == set(expected)
    assert all(np.array_equal(found[name], expected[name]) for name in expected)
