"""What exporters write of BERT, GPT-2, ViT and LLaMA is recognised; the counts are golden.

See exports/README.md for the files.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from tetrapla.frontend.onnx import load
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass, run
from tetrapla.passes.text_ import parse

EXPORTS = Path(__file__).parent / "exports"
RECOGNIZE = (
    "fold-constants,canonicalize,recognize-gelu,recognize-silu,recognize-layer-norm,"
    "recognize-rms-norm,recognize-group-norm,recognize-pool,recognize-attention"
)
FUSE = (
    "fold-scales,eliminate-transposes,eliminate-reshapes,fuse-epilogue,fuse-siblings,"
    "canonicalize,fold-constants,eliminate-common"
)
RECOGNIZED = ("attention", "gelu", "silu", "layer_norm", "rms_norm")
# what is left of a recognised operator would be one of these
PARTS = {"nn.softmax", "nn.erf", "nn.tanh", "nn.sigmoid", "nn.sqrt", "nn.pow", "nn.reduce_mean"}
# two layers each: one attention and one activation per layer; a normalisation before each of
# the two parts of a layer and at the end (BERT: after each part, and of the embeddings)
COUNTS = {
    "bert": {"attention": 2, "gelu": 2, "layer_norm": 5},
    "gpt2": {"attention": 2, "gelu": 2, "layer_norm": 5},
    "vit": {"attention": 2, "gelu": 2, "layer_norm": 5},
    "llama": {"attention": 2, "silu": 2, "rms_norm": 5},
}
FILES = sorted(path.stem for path in EXPORTS.glob("*.onnx"))


def inputs_of(module: Module, rng: np.random.Generator) -> dict[str, Array]:
    """Words, pictures and a mask that hides the last two words."""
    found: dict[str, Array] = {}
    for name, value in module.inputs.items():
        if name == "mask":
            found[name] = np.array([[1, 1, 1, 1, 1, 1, 0, 0]])
        elif value.dtype == "i64":
            found[name] = rng.integers(0, 12, value.shape)
        else:
            found[name] = rng.standard_normal(value.shape).astype(np.float32)
    return found


def moved(before: Array, after: Array) -> float:
    return float(np.abs(before.astype(np.float64) - after).max() / np.abs(before).max())


def bound(passes: tuple[Pass, ...]) -> float:
    return sum(pass_.max_rel_error for pass_ in passes)


def test_there_is_an_export_of_each_model_by_both_exporters() -> None:
    exporters = ("dynamo18", "script13")
    assert FILES == [f"{name}.{how}" for name in sorted(COUNTS) for how in exporters]


@pytest.mark.parametrize("stem", FILES)
def test_the_operators_of_an_export_are_recognised(stem: str, rng: np.random.Generator) -> None:
    module = load(EXPORTS / f"{stem}.onnx")
    passes = parse(RECOGNIZE)
    found = run(module, passes)
    kinds = Counter(node.kind for node in found.graph.nodes)
    counts = {name: kinds[f"nn.{name}"] for name in RECOGNIZED if kinds[f"nn.{name}"]}
    assert counts == COUNTS[stem.split(".")[0]]
    assert not PARTS & kinds.keys()
    inputs = inputs_of(module, rng)
    before, after = (evaluate(each, inputs)["y"] for each in (module, found))
    assert moved(before, after) <= bound(passes)


@pytest.mark.parametrize("stem", FILES)
def test_a_fused_export_computes_what_onnx_runtime_does(
    stem: str, rng: np.random.Generator
) -> None:
    path = EXPORTS / f"{stem}.onnx"
    passes = parse(f"{RECOGNIZE},{FUSE},tile-attention{{block=3}}")
    found = run(load(path), passes)
    inputs = inputs_of(found, rng)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, inputs)
    # the other interpreter rounds within what one pass of summing again may (fold-scales)
    slack = parse("fold-scales")[0].max_rel_error
    assert moved(np.asarray(expected), evaluate(found, inputs)["y"]) <= bound(passes) + slack


@pytest.mark.parametrize("stem", FILES)
def test_an_export_that_is_fused_stays_as_it_is(stem: str) -> None:
    passes = parse(f"{RECOGNIZE},{FUSE}")
    found = run(load(EXPORTS / f"{stem}.onnx"), passes)
    assert run(found, passes) is found


@pytest.mark.parametrize(
    ("stem", "keys", "heads", "causal", "operands"),
    [
        # one mask of the words that are there; every word sees all of them
        ("bert.dynamo18", 8, 2, 0, 4),
        ("gpt2.dynamo18", 8, 2, 1, 3),
        ("gpt2.script13", 8, 2, 1, 3),
        ("vit.script13", 5, 2, 0, 3),  # 2 x 2 patches and the class
        # four heads of queries share two of keys, which were repeated
        ("llama.dynamo18", 8, 2, 1, 3),
        ("llama.script13", 8, 2, 1, 3),
    ],
)
def test_an_attention_has_the_models_keys_heads_and_masks(
    stem: str, keys: int, heads: int, causal: int, operands: int
) -> None:
    found = run(load(EXPORTS / f"{stem}.onnx"), parse(RECOGNIZE))
    for node in found.graph.nodes:
        if node.kind == "nn.attention":
            k = node.operands[1]
            width = node.operands[0].shape[-1]
            assert (k.shape[-2], k.shape[-3]) == (keys, heads)
            assert (node.int("causal"), node.int("causal_offset")) == (causal, 0)
            assert node.float("scale") == pytest.approx(width**-0.5, rel=2.0**-22)
            assert len(node.operands) == operands


@pytest.mark.parametrize(
    ("name", "form"), [("gpt2", "tanh"), ("bert", "none"), ("vit", "none")]
)
def test_a_gelu_has_the_models_form(name: str, form: str) -> None:
    found = run(load(EXPORTS / f"{name}.script13.onnx"), parse(RECOGNIZE))
    forms = {n.str("approximate") for n in found.graph.nodes if n.kind == "nn.gelu"}
    assert forms == {form}


def test_queries_keys_and_values_become_one_product() -> None:
    found = run(load(EXPORTS / "llama.dynamo18.onnx"), parse(f"{RECOGNIZE},{FUSE}"))
    widths = Counter(n.operands[1].shape for n in found.graph.nodes if n.kind == "nn.matmul")
    # per layer: 4 heads of queries and 2 of keys and of values, 4 wide (16 + 8 + 8); gate and
    # up (16 + 16); the products behind attention and gate
    assert widths == {(16, 32): 4, (16, 16): 4}
