"""The zoo from outside: listed, loaded by name, and simulated where a machine can hold it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.host import on_host
from tetrapla.ir.errors import ModelError

Cli = Any  # the fixture's, see conftest


def test_the_list_has_every_network_with_its_counts(cli: Cli) -> None:
    lines = [line for line in cli("zoo").out.splitlines() if line]
    names = [line.split()[0] for line in lines[3:]]
    assert names == list(tetrapla.zoo.networks())
    (row,) = (line for line in lines if line.startswith("resnet50 "))
    assert row.split()[1:4] == ["residual", "25,557,032", "4,089,184,256"]
    assert "arXiv:1512.03385" in row


def test_one_family_is_listed_alone(cli: Cli) -> None:
    lines = [line for line in cli("zoo", "residual").out.splitlines() if line]
    assert {line.split()[1] for line in lines[3:]} == {"residual"}


def test_an_unknown_family_is_refused(cli: Cli) -> None:
    done = cli("zoo", "residal")
    assert done.status == 2
    assert done.err.startswith("error: FAMILY must be one of ")
    assert done.err.endswith(", not 'residal'; did you mean 'residual'?\n")


def test_a_name_stands_for_a_model_with_a_batch() -> None:
    module = tetrapla.load("zoo:resnet18", batch=2)
    assert {name: value.shape for name, value in module.inputs.items()} == {
        "x": (2, 3, 224, 224)
    }
    assert module.name == "zoo:resnet18"


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        (
            "zoo:resnet5",
            {},
            "zoo:resnet5 must name a network, not 'resnet5'; 'tetrapla zoo' lists them; "
            "did you mean 'resnet50'?",
        ),
        (
            "zoo:vit",
            {},
            "zoo:vit must name a network, not 'vit'; 'tetrapla zoo' lists them; did you mean "
            "'vit-b-16' or 'vit-tiny'?",
        ),
        (
            "zoo:convnext_tinny",
            {},
            "zoo:convnext_tinny must name a network, not 'convnext_tinny'; 'tetrapla zoo' "
            "lists them; did you mean 'convnext-tiny'?",
        ),
        (
            "zoo:resnet18",
            {"dims": {"batch": 2}},
            "zoo:resnet18 must not be given --dim: its sizes are fixed; drop it",
        ),
        (
            "zoo:resnet18",
            {"fixed": {"x": np.zeros(1)}},
            "zoo:resnet18 must not be given --fix: its sizes are fixed; drop it",
        ),
        ("zoo:resnet18", {"batch": 0}, "--batch must be at least 1, not 0"),
    ],
)
def test_a_wrong_request_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ModelError) as caught:
        tetrapla.load(name, **options)
    assert str(caught.value) == message


def test_an_underscore_stands_for_a_hyphen() -> None:
    assert tetrapla.zoo.entry("mobilenet_v2") is tetrapla.zoo.entry("mobilenet-v2")


@pytest.mark.slow
def test_resnet50_runs_on_tpu_v4_bit_for_bit(cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "r.json"
    words = ["simulate", "zoo:resnet50", "--target", "tpu-v4", "--samples", 1, "--json", path]
    assert cli(*words).status == 0
    report = json.loads(path.read_text("utf-8"))
    assert report["model"] == "zoo:resnet50"
    assert report["cross_check"]["mismatches"] == 0
    assert report["cross_check"]["passed"]
    assert sum(layer["macs"] for layer in report["layers"]) == 4_089_184_256


def test_a_detectors_boxes_are_suppressed_on_the_host() -> None:
    module = tetrapla.zoo.entry("yolov3-tiny").draft(values=False).builder.build()
    boxes, scores = (module.outputs[name].shape for name in ("boxes", "scores"))
    found = {"boxes": np.zeros((2, *boxes), np.float32), "scores": np.zeros((2, *scores), "f4")}
    found["boxes"][:, 0, :3] = [[0, 0, 10, 10], [1, 0, 10, 10], [20, 0, 30, 10]]
    # two boxes over one another in the first image, one alone in each
    found["scores"][0, 0, 5, :3] = [0.8, 0.9, 0.7]
    found["scores"][1, 0, 5, 0] = 0.6
    host = on_host(module, found)
    assert host["host_boxes"].tolist() == [[1, 0, 10, 10], [20, 0, 30, 10], [0, 0, 10, 10]]
    np.testing.assert_array_equal(host["host_scores"], np.array([0.9, 0.7, 0.6], np.float32))
    assert host["host_labels"].tolist() == [5, 5, 5]
    assert host["host_invocations"].tolist() == [0, 0, 1]


def test_a_classifier_leaves_nothing_to_the_host() -> None:
    module = tetrapla.zoo.entry("resnet18").draft(values=False).builder.build()
    assert on_host(module, {"logits": np.zeros((1, 1, 1000), np.float32)}) == {}
