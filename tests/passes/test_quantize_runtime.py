"""Trained networks in int8, exported and run by ONNX Runtime: every bit of every logit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tetrapla.frontend.onnx import load
from tetrapla.frontend.onnx.export import export
from tetrapla.ir.interpret import evaluate
from tetrapla.passes.context_ import Context
from tetrapla.passes.pass_ import run
from tetrapla.passes.pipeline_ import CANONICAL, CLEANING
from tetrapla.passes.text_ import parse

MODELS = Path(__file__).parent / "models"
DIGITS = Path(__file__).parents[2] / "tetrapla" / "data" / "digits.npz"
COUNT = 64


@pytest.mark.parametrize("kind", ["mlp", "cnn", "dwcnn"])
@pytest.mark.parametrize("text", ["quantize", "quantize{method=mse,all_operators=true}"])
def test_onnx_runtime_computes_the_same_integers(kind: str, text: str) -> None:
    with np.load(DIGITS) as held:
        images = held["x"][:, None] / np.float32(16)
    module = run(load(MODELS / f"{kind}_0.onnx", batch=COUNT), CANONICAL)
    context = Context({"image": images[None, :COUNT]})
    quantised = run(module, (*parse(text), *CLEANING), context)
    session = onnxruntime.InferenceSession(
        export(quantised), providers=["CPUExecutionProvider"]
    )
    unseen = images[COUNT : 2 * COUNT]
    (expected,) = session.run(None, {"image": unseen})
    (found,) = evaluate(quantised, {"image": unseen}).values()
    assert int((np.asarray(expected) != found).sum()) == 0
