"""What `bench_gpu_kernels.py` runs: shapes of kernels, and the same of PyTorch beside them.

No benchmark. Squares and the layers of LLaMA-7B (H. Touvron et al., arXiv:2302.13971: 4096
features, 11008 inside), the convolutions of ResNet-50 (K. He et al., arXiv:1512.03385, table
1), attention at the sizes of FlashAttention-3's figures (J. Shah et al., arXiv:2407.08608:
16,384 tokens in all, 2048 features), rows of those networks, and whole ones of the zoo.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import tetrapla
from tetrapla import nn
from tetrapla.ir.module import Module

# of PyTorch, the inputs and the weights on the device, in the module's order
Eager = Callable[[Any, Sequence[Any], Sequence[Any]], Any]


@dataclass(frozen=True)
class Case:
    """One kernel, or a network.

    Attributes:
        name: unique.
        kind: product, convolution, attention, rows or network.
        quant: the format, as `--quant` takes it.
        build: makes the module, with weights from a fixed seed.
        eager: the same by PyTorch's own operators; None where a network stands for it.
        network: what PyTorch's packages call the same network, ``package:name``.
    """

    name: str
    kind: str
    quant: str
    build: Callable[[], Module]
    eager: Eager | None = None
    network: str = ""


def cases() -> Iterator[Case]:
    """Every case, at its full size."""
    for size in (512, 1024, 2048, 4096, 8192):
        yield linear(size, size, size, "fp16", "none")
    for quant in ("bf16", "int8", "fp8", "tf32", "fp32"):
        yield linear(4096, 4096, 4096, quant, "none")
    for tokens in (1, 16, 512, 4096):
        for n, k in ((4096, 4096), (12288, 4096), (11008, 4096), (4096, 11008)):
            yield linear(tokens, n, k, "fp16", "none")
    yield linear(512, 3072, 768, "fp16", "gelu")  # BERT-base and GPT-2
    yield linear(1, 10, 64, "fp16", "none")  # the digits' networks
    yield convolution(1, 8, 16, 8, 3, 1)
    for channels, filters, size, kernel, stride in RESNET50:
        yield convolution(32, channels, filters, size, kernel, stride)
    for depth in (64, 128):
        for length in (512, 2048, 8192):
            for causal in (False, True):
                yield attention(16384 // length, 2048 // depth, length, depth, causal)
    for rows, columns in ((16384, 4096), (512, 768), (128, 50257)):
        yield from rowwise(rows, columns)
    yield Case("digits-cnn", "network", "fp16", lambda: tetrapla.load(DIGITS))
    for (name, batch), found in NETWORKS.items():
        yield Case(f"{name}-{batch}", "network", "fp16", zoo(name, batch), network=found)


def tiny() -> Iterator[Case]:
    """One case of every kind that an interpreter runs in seconds."""
    for quant in ("fp16", "fp32"):
        yield linear(17, 20, 24, quant, "gelu")
    yield linear(17, 20, 24, "int8", "none")
    yield convolution(1, 3, 8, 6, 3, 2)
    yield attention(1, 2, 16, 8, True)
    yield from rowwise(5, 24)
    yield Case("digits-cnn", "network", "fp16", lambda: tetrapla.load(DIGITS))


DIGITS = str(Path(__file__).resolve().parent.parent / "examples" / "digits_cnn.onnx")
NETWORKS = {
    ("resnet50", 1): "torchvision:resnet50",
    ("resnet50", 32): "torchvision:resnet50",
    ("bert-base", 1): "transformers:BertModel",
    ("gpt2", 1): "transformers:GPT2LMHeadModel",
}
# channels, filters, the image's size, the kernel's, stride
RESNET50 = (
    (3, 64, 224, 7, 2),
    (64, 64, 56, 1, 1),
    (64, 64, 56, 3, 1),
    (64, 256, 56, 1, 1),
    (256, 128, 56, 1, 1),
    (128, 128, 56, 3, 2),
    (128, 512, 28, 1, 1),
    (512, 256, 28, 1, 1),
    (256, 256, 28, 3, 2),
    (256, 1024, 14, 1, 1),
    (1024, 512, 14, 1, 1),
    (512, 512, 14, 3, 2),
    (512, 2048, 7, 1, 1),
)


def linear(m: int, n: int, k: int, quant: str, activation: str) -> Case:
    """``activation(x w + bias)``, x[m, k]."""

    def build() -> Module:
        rng = np.random.default_rng(0)
        b = tetrapla.Builder("linear")
        x = b.input("x", (m, k))
        w = (rng.standard_normal((k, n)) / np.sqrt(k)).astype(np.float32)
        y = nn.matmul(x, w, rng.standard_normal(n).astype(np.float32))
        b.output("y", y.gelu() if activation == "gelu" else y)
        return b.build()

    def eager(torch: Any, x: Sequence[Any], w: Sequence[Any]) -> Any:
        y = torch.addmm(w[1], x[0], w[0])
        return torch.nn.functional.gelu(y) if activation == "gelu" else y

    tail = "" if activation == "none" else f"-{activation}"
    name = f"linear-{m}x{n}x{k}{tail}-{quant}"
    return Case(name, "product", quant, build, eager)


def convolution(
    batch: int, channels: int, filters: int, size: int, kernel: int, stride: int
) -> Case:
    """``relu(x * w + bias)``, padded to its size."""

    def build() -> Module:
        rng = np.random.default_rng(0)
        b = tetrapla.Builder("convolution")
        x = b.input("x", (batch, channels, size, size))
        w = rng.standard_normal((filters, channels, kernel, kernel)) / kernel
        w = (w / np.sqrt(channels)).astype(np.float32)
        bias = rng.standard_normal(filters).astype(np.float32)
        y = nn.conv2d(x, w, bias, strides=stride, pads=kernel // 2)
        b.output("y", y.relu())
        return b.build()

    def eager(torch: Any, x: Sequence[Any], w: Sequence[Any]) -> Any:
        y = torch.nn.functional.conv2d(x[0], w[0], w[1], stride, kernel // 2)
        return torch.relu(y)

    sizes = f"{batch}x{channels}x{size}-{filters}x{kernel}-{stride}"
    return Case(f"convolution-{sizes}-fp16", "convolution", "fp16", build, eager)


def attention(batch: int, heads: int, length: int, depth: int, causal: bool) -> Case:
    """``softmax(q kT / sqrt(depth)) v`` of every head."""
    shape = (batch, heads, length, depth)

    def build() -> Module:
        b = tetrapla.Builder("attention")
        q, k, v = (b.input(name, shape) for name in ("q", "k", "v"))
        b.output("y", nn.attention(q, k, v, causal=causal))
        return b.build()

    def eager(torch: Any, x: Sequence[Any], w: Sequence[Any]) -> Any:
        del w
        held = torch.nn.functional.scaled_dot_product_attention
        return held(*x, is_causal=causal)

    name = f"attention-{'x'.join(map(str, shape))}{'-causal' if causal else ''}-fp16"
    return Case(name, "attention", "fp16", build, eager)


def rowwise(rows: int, columns: int) -> Iterator[Case]:
    """Softmax, layer normalisation and GELU of x[rows, columns]."""

    def module(operator: str) -> Module:
        b = tetrapla.Builder(operator)
        x = b.input("x", (rows, columns))
        ones = np.ones(columns, np.float32)
        made = {
            "softmax": lambda: nn.softmax(x, axis=-1),
            "layer_norm": lambda: nn.layer_norm(x, ones, ones),
            "gelu": lambda: nn.gelu(x),
        }
        b.output("y", made[operator]())
        return b.build()

    def softmax(torch: Any, x: Sequence[Any], w: Sequence[Any]) -> Any:
        del w
        return torch.softmax(x[0], -1)

    def layer_norm(torch: Any, x: Sequence[Any], w: Sequence[Any]) -> Any:
        return torch.nn.functional.layer_norm(x[0], (columns,), w[0], w[-1])

    def gelu(torch: Any, x: Sequence[Any], w: Sequence[Any]) -> Any:
        del w
        return torch.nn.functional.gelu(x[0])

    eager: dict[str, Eager] = {"softmax": softmax, "layer_norm": layer_norm, "gelu": gelu}
    for operator, same in eager.items():
        name = f"{operator}-{rows}x{columns}-fp16"
        yield Case(name, "rows", "fp16", made_by(module, operator), same)


def made_by(module: Callable[[str], Module], operator: str) -> Callable[[], Module]:
    """A builder of one operator."""
    return lambda: module(operator)


def zoo(name: str, batch: int) -> Callable[[], Module]:
    """A builder of a network of the zoo."""
    return lambda: tetrapla.load(f"zoo:{name}", batch=batch)
