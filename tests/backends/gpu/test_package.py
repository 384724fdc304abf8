"""The folder that is written out: functions, manifest, weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import pytest
import safetensors as library
from safetensors.numpy import load

from tetrapla.backends.gpu.lower import plan
from tetrapla.backends.gpu.triton.functions import functions, warps
from tetrapla.backends.gpu.triton.kernels import grid
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.gpu.triton.weights import safetensors
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.module import Module
from tetrapla.simulators.gpu.program import Buffer, Program


def layers(count: int, width: int = 32) -> Module:
    """Equal layers of a product and a sum, each with weights of its own."""
    rng = np.random.default_rng(0)
    build = ModuleBuilder("layers")
    x = build.input("x", (4, width))
    for i in range(count):
        weight = build.weight(f"w{i}", rng.normal(size=(width, width)).astype(np.float32))
        bias = build.weight(f"b{i}", rng.normal(size=width).astype(np.float32))
        x = build.op("nn.matmul", [x, weight, bias], {"activation": "relu"}, f"fc{i}")
    build.output("y", x)
    return build.finish()


def test_equal_layers_are_one_function() -> None:
    program = plan(layers(12), "fp16")
    found, launched = functions(program)
    # eleven store float16 and the last one float32
    assert [function.name for function in found] == [
        "matmul_bias_relu_1x4x32x32",
        "matmul_bias_relu_1x4x32x32_2",
    ]
    assert launched == (found[0].name,) * 11 + (found[1].name,)
    assert found[0].dtypes == ("f16", "f16", "f32", "f16")
    assert "def matmul_bias_relu_1x4x32x32(a_ptr, b_ptr, bias_ptr, y_ptr):" in found[0].text
    manifest = json.loads(sources(program)["manifest.json"])
    assert [each["arguments"][1] for each in manifest["launches"]] == [
        f"w{i}" for i in range(12)
    ]


def test_the_same_program_gives_the_same_bytes() -> None:
    assert sources(plan(layers(3), "fp16")) == sources(plan(layers(3), "fp16"))


def test_the_manifest_says_where_everything_lies() -> None:
    program = plan(layers(4, 64), "fp16")
    manifest = json.loads(sources(program)["manifest.json"])
    assert manifest["schema"] == "tetrapla.gpu.package/1"
    assert (manifest["code"], manifest["code_is_missing"]) == (None, "it was not asked for")
    # 4 x 64 float16 are 512 bytes; neighbours are alive together, so there are two places
    assert manifest["workspace"] == {
        "size_bytes": 1024,
        "scratch_bytes": 1536,
        "alignment_bytes": 256,
    }
    held = {name: buffer for name, buffer in manifest["buffers"].items()}
    scratch = [
        buffer["offset_bytes"] for buffer in held.values() if buffer["role"] == "scratch"
    ]
    assert scratch == [0, 512, 0]
    assert held["w0"] == {
        "role": "weight",
        "dtype": "float16",
        "shape": [64, 64],
        "size_bytes": 8192,
        "tensor": "w0",
    }
    # 4 weights of 8192 and biases of 256 bytes, 512 of input and 1024 of output
    assert manifest["memory"] == {
        "weight_bytes": 4 * (8192 + 256),
        "input_and_output_bytes": 512 + 1024,
        "workspace_bytes": 1024,
        "peak_bytes": 4 * (8192 + 256) + 512 + 1024 + 1024,
    }
    (first, *_) = manifest["launches"]
    assert first == {
        "kernel": "fc0",
        "op": "nn.matmul",
        "function": "matmul_bias_relu_1x4x64x64",
        "grid": list(grid(program.kernels[0])),
        "arguments": ["x", "w0", "b0", "fc0"],
        "stores": ["fc0"],
    }
    assert manifest["functions"][first["function"]] == {
        "types": ["float16", "float16", "float32", "float16"],
        "options": {
            "num_warps": warps(program.kernels[0]),
            "num_stages": 3,
            "enable_fp_fusion": False,
        },
    }


SCHEMA = json.loads(
    (Path(__file__).parents[3] / "docs" / "gpu-manifest.schema.json").read_text("utf-8")
)
KINDS = {"object": dict, "array": list, "string": str, "integer": int, "null": type(None)}


def misfits(value: Any, rule: Any, at: str = "") -> list[str]:
    """Where a value breaks a rule, of what JSON Schema has and the manifest's needs."""
    if "$ref" in rule:
        rule = SCHEMA["$defs"][rule["$ref"].rpartition("/")[2]]
    told = rule.get("type", [])
    kinds = [told] if isinstance(told, str) else told
    wrong = [
        bool(kinds) and not any(type(value) is KINDS[kind] for kind in kinds),
        "const" in rule and value != rule["const"],
        "enum" in rule and value not in rule["enum"],
        isinstance(value, int) and value < rule.get("minimum", value),
    ]
    found = [at] if any(wrong) else list[str]()
    if isinstance(value, dict):
        known, others = rule.get("properties", {}), rule.get("additionalProperties", {})
        found += [f"{at}/{name}" for name in rule.get("required", ()) if name not in value]
        for name, each in value.items():
            if name not in known and others is False:
                found.append(f"{at}/{name}")
            else:
                found += misfits(each, known.get(name, others), f"{at}/{name}")
    if isinstance(value, list):
        for i, each in enumerate(value):
            found += misfits(each, rule.get("items", {}), f"{at}/{i}")
    return found


def test_the_manifest_is_what_its_schema_says() -> None:
    manifest = json.loads(sources(plan(layers(2), "fp16"))["manifest.json"])
    assert misfits(manifest, SCHEMA) == []
    code = {
        **dict.fromkeys(("text", "binary"), "code/sm_90/f.ptx"),
        **dict.fromkeys(("registers", "shared_bytes", "spill_bytes"), 0),
        "instructions": {"wgmma": 4},
    }
    (name, *_) = manifest["functions"]
    manifest["functions"][name]["code"] = {"sm_90": code}
    manifest["code"] = {"compiler": "triton 3.9.0", "architectures": ["sm_90"]}
    assert misfits(manifest, SCHEMA) == []
    code["registers"] = "many"
    manifest["workspace"]["odd"] = -1
    del manifest["name"]
    assert misfits(manifest, SCHEMA) == [
        "/name",
        "/workspace/odd",
        f"/functions/{name}/code/sm_90/registers",
    ]


def test_weights_are_what_the_library_reads() -> None:
    program = plan(layers(2), "fp16")
    data = sources(program)["weights.safetensors"]
    assert isinstance(data, bytes)
    read = load(data)
    assert sorted(read) == ["b0", "b1", "w0", "w1"]
    for name, array in read.items():
        held = program.weights[name]
        assert array.dtype == (np.float16 if name.startswith("w") else np.float32)
        assert np.array_equal(array, held.astype(array.dtype))


@pytest.mark.parametrize(
    ("dtype", "held"),
    [("bf16", ml_dtypes.bfloat16), ("f8E4M3FN", ml_dtypes.float8_e4m3fn)],
)
def test_types_without_a_numpy_form_are_stored_as_their_bits(
    dtype: str, held: type, rng: np.random.Generator
) -> None:
    odd, array = rng.normal(size=3).astype(np.float32), rng.normal(size=(5, 7))
    program = Program(
        "one",
        "fp16",
        (),
        (),
        (Buffer("__metadata__", dtype, (5, 7), "weight"), Buffer("b", "f32", (3,), "weight")),
        (),
        {"__metadata__": array.astype(np.float32), "b": odd},
    )
    reader: Any = library  # which is typed in part
    found = dict(reader.deserialize(safetensors(program)))
    assert bytes(found["b"]["data"]) == odd.tobytes()
    assert (
        bytes(found["__metadata__."]["data"]) == array.astype(np.float32).astype(held).tobytes()
    )
    assert found["__metadata__."]["shape"] == [5, 7]
