"""Training for a chip's errors: chips answer better after it, and nothing else changes."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

import tetrapla
from tetrapla import retrained, retraining
from tetrapla.datasets import load_data
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module

if TYPE_CHECKING:
    from tests.tetrapla.conftest import Done

NOISY = ("device.model=pcm_like", "device.g_max=25 uS", "device.programming=4")


def words(*more: object) -> list[object]:
    chip = [word for text in NOISY for word in ("--set", text)]
    return ["--target", "isaac", "--data", "digits", *chip, *more]


def test_chips_answer_better_after_it(
    cli: Callable[..., Done], mlp: str, tmp_path: Path
) -> None:
    # 83 % before, 90 % after two epochs: seeds differ by 3 to 5 %
    tuned, figures = tmp_path / "tuned.onnx", tmp_path / "figures.json"
    done = cli(
        *("retrain", mlp, *words("--epochs", 2, "--chips", 3, "--samples", 200)),
        *("-o", tuned, "--json", figures),
    )
    assert done.status == 0, done.err
    before, after = json.loads(figures.read_text())["reports"]
    assert (before["model"], after["model"]) == ("digits_mlp", "digits_mlp, retrained")
    assert before["accuracy"]["seeds"] == after["accuracy"]["seeds"] == 3
    assert after["accuracy"]["target"] >= before["accuracy"]["target"] + 0.03
    assert after["accuracy"]["reference"] >= before["accuracy"]["reference"] - 0.03
    assert f"{100 * after['accuracy']['target']:.1f} ±" in done.out
    # the file is that model
    module = tetrapla.load(tuned)
    few: dict[str, Any] = {"chips": 3, "samples": 200}
    report = tetrapla.simulate(module, "isaac", data="digits", overrides=NOISY, **few)
    assert report.accuracy is not None
    assert report.accuracy.target == pytest.approx(after["accuracy"]["target"])


def tiny(seed: int = 0) -> tuple[Module, Array, Array]:
    b = tetrapla.Builder("tiny")
    rng = np.random.default_rng(seed)
    first, second = (rng.normal(0, 1, s).astype(np.float32) for s in ((6, 8), (8, 3)))
    hidden = tetrapla.nn.relu(b.matmul(b.input("x", (4, 6)), first, name="first"))
    b.output("y", b.matmul(hidden, second, name="second"))
    return b.build(), rng.normal(0, 1, (20, 6)).astype(np.float32), rng.integers(0, 3, 20)


def weights(module: Module) -> list[Array]:
    return [module.weights[name] for name in sorted(module.weights)]


def test_a_seed_decides() -> None:
    module, x, y = tiny()
    one, same, other = (
        tetrapla.retrain(module, "isaac", x, y, 1, seed=seed) for seed in (0, 0, 1)
    )
    assert one.losses == same.losses
    pairs = list(zip(weights(one.module), weights(same.module), strict=True))
    assert all(np.array_equal(a, b) for a, b in pairs)
    assert one.losses != other.losses
    # the model that was given stays
    assert [w.tobytes() for w in weights(module)] == [w.tobytes() for w in weights(tiny()[0])]


def test_every_step_is_on_another_chip_and_none_of_a_simulation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from tetrapla.backends.analog.perturb import Chips

    right, keys = Chips.held, list[Any]()

    def held(own: Chips, given: Mapping[str, Array], key: Any) -> dict[str, Array]:
        keys.append((key.seed, key.chip))
        return right(own, given, key)

    monkeypatch.setattr(Chips, "held", held)
    module, x, y = tiny()
    tetrapla.retrain(module, "isaac", x, y, 2, seed=5)
    # 20 samples in fours, twice; simulations use chip 0 of a seed
    assert keys == [(5, n) for n in range(1, 11)]


def test_only_the_training_part_is_seen(
    monkeypatch: pytest.MonkeyPatch, cli: Callable[..., Done], mlp: str, tmp_path: Path
) -> None:
    seen: list[Array] = []
    from tetrapla.training import train as right

    def train(module: Module, x: Array, y: Array, *rest: Any, **more: Any) -> Any:
        seen.append(x)
        assert len(x) == len(y)
        return right(module, x[:16], y[:16], *rest, **more)

    monkeypatch.setattr(retraining, "train", train)
    done = cli(
        "retrain",
        mlp,
        *words("--samples", 20, "--chips", 2, "--epochs", 1),
        "-o",
        tmp_path / "t.onnx",
    )
    assert done.status == 0, done.err
    data = load_data("digits")
    assert np.array_equal(
        seen[0].reshape(len(data.train), -1), data.x[data.train].reshape(-1, 64)
    )


def test_batch_norms_are_folded_before(examples_cnn: Path) -> None:
    ready = retraining.folded(tetrapla.load(examples_cnn, batch=2))
    assert {node.kind for node in ready.graph.nodes}.isdisjoint({"nn.batch_norm"})
    one = retraining.with_batch(ready, tetrapla.load(examples_cnn))
    for name, array in one.weights.items():
        assert np.array_equal(array, ready.weights[name])


@pytest.fixture
def examples_cnn(mlp: str) -> Path:
    return Path(mlp).with_name("digits_cnn.onnx")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (
            ("--target", "tpu-v1", "--data", "digits"),
            "--target must be an analog chip to be trained for, not tpu-v1; name one (tetrapla "
            "targets analog)",
        ),
        (
            (
                *("--target", "isaac", "--data", "digits"),
                *("--set", "device.model=exact", "--set", "device.read_noise=0"),
            ),
            "isaac must have errors to be trained for, not exact cells and silent reads; set "
            "device.model or another of its errors",
        ),
        (
            ("--target", "isaac"),
            "--data must be given to retrain: digits, or an .npz with x, y, train",
        ),
        (words("--epochs", 0), "--epochs must be at least 1, not 0"),
        (words("--learning-rate", 0), "--learning-rate must be a number above 0, not 0"),
        (
            words("--batch", 5000),
            "--batch must be at most the 1347 training samples, not 5000; lower it",
        ),
    ],
)
def test_what_cannot_be_retrained_is_refused(
    refused: Callable[..., None],
    mlp: str,
    tmp_path: Path,
    given: tuple[object, ...],
    message: str,
) -> None:
    refused(message, "retrain", mlp, *given, "-o", tmp_path / "t.onnx")
    assert list(tmp_path.iterdir()) == []


def test_the_output_is_a_model(refused: Callable[..., None], mlp: str) -> None:
    refused(
        "-o must be a file in .mlir or .onnx, not 't.txt'",
        "retrain",
        mlp,
        *words("-o", "t.txt"),
    )


def test_data_without_a_training_part_is_refused(
    refused: Callable[..., None], mlp: str, tmp_path: Path
) -> None:
    data = tmp_path / "d.npz"
    np.savez(data, x=np.zeros((4, 8, 8), np.float32), y=np.zeros(4, np.int64))
    refused(
        f"--data {data} must have a training part to retrain on, not test samples alone; add "
        "the indices 'train' and 'test'",
        *("retrain", mlp, "--target", "isaac", "--data", data, "-o", tmp_path / "t.onnx"),
    )


def test_another_model_takes_no_weights(mlp: str) -> None:
    with pytest.raises(ModelError) as raised:
        retraining.with_batch(tiny()[0], tetrapla.load(mlp))
    assert str(raised.value) == (
        "model 'digits_mlp' must be the retrained one but for its batch, not another"
    )
    assert retrained.BATCH == 16
