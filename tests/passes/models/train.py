"""Train the networks that quantisation is measured on: three kinds, three seeds each.

    pip install tetrapla[train]
    python tests/passes/models/train.py

writes ``<kind>_<seed>.onnx`` beside itself. Nothing prepares the networks for few bits: no
noise, no decay, no augmentation. The digits and their split are ``tetrapla/data/digits.npz``;
a seed is that of the first weights and of the order of the samples.
"""

# torch is not installed where the checkers run
# pyright: reportUnknownParameterType=false

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

HERE = Path(__file__).resolve().parent
DIGITS = HERE.parents[2] / "tetrapla" / "data" / "digits.npz"
OPSET, IR_VERSION = 17, 8
SEEDS = 3
EPOCHS, BATCH, RATE = 100, 64, 3e-3
PIXEL_MAX = 16.0


def mlp() -> nn.Sequential:
    """64-64-32-10 with ReLU: 6,570 parameters."""
    layers = [nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(32, 10))


def cnn() -> nn.Sequential:
    """Two convolutions, each normalised and pooled, and two linear layers: 3,682 parameters."""
    layers: list[nn.Module] = []
    for before, after in ((1, 8), (8, 16)):
        layers += [nn.Conv2d(before, after, 3, padding=1, bias=False), nn.BatchNorm2d(after)]
        layers += [nn.ReLU(), nn.MaxPool2d(2)]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))


def dwcnn() -> nn.Sequential:
    """A convolution, two depthwise-separable blocks with ReLU6, a mean: 2,210 parameters."""
    layers = _normalised(1, 16, 3, 1, 1)
    for before, after, stride in ((16, 24, 1), (24, 32, 2)):
        layers += _normalised(before, before, 3, stride, before)
        layers += _normalised(before, after, 1, 1, 1)
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


def _normalised(before: int, after: int, size: int, stride: int, groups: int) -> list[Any]:
    convolution = nn.Conv2d(
        before, after, size, stride, padding=size // 2, groups=groups, bias=False
    )
    return [convolution, nn.BatchNorm2d(after), nn.ReLU6()]


def trained(net: nn.Sequential, x: torch.Tensor, y: torch.Tensor) -> nn.Sequential:
    """Adam at a constant rate on the cross entropy."""
    optimizer = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(EPOCHS):
        order = torch.randperm(len(x))
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            loss = nn.functional.cross_entropy(net(x[chosen]), y[chosen])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    return net.eval()


def nodes(net: nn.Sequential) -> Iterator[tuple[str, dict[str, Any], list[Any]]]:
    """ONNX's operator, attributes and parameters of each layer, in order."""
    for layer in net:
        held = [p.detach().numpy() for p in layer.parameters()]
        match layer:
            case nn.Conv2d():
                window = {
                    "kernel_shape": list(layer.kernel_size),
                    "strides": list(layer.stride),
                    "pads": [*layer.padding, *layer.padding],
                    "group": layer.groups,
                }
                yield "Conv", window, held
            case nn.BatchNorm2d():
                held += [layer.running_mean.numpy(), layer.running_var.numpy()]
                yield "BatchNormalization", {"epsilon": layer.eps}, held
            case nn.Linear():
                yield "Gemm", {"transB": 1}, held
            case nn.ReLU6():
                yield "Clip", {}, [np.float32(0), np.float32(6)]
            case nn.MaxPool2d():
                yield "MaxPool", {"kernel_shape": [2, 2], "strides": [2, 2]}, []
            case nn.ReLU():
                yield "Relu", {}, []
            case nn.AdaptiveAvgPool2d():
                yield "GlobalAveragePool", {}, []
            case _:
                yield "Flatten", {}, []


def model(net: nn.Sequential, name: str) -> onnx.ModelProto:
    """The network on one batch of images, its values named after its nodes."""
    made, weights, x = [], [], "image"
    for i, (op, attributes, parameters) in enumerate(nodes(net)):
        label = f"{op.lower()}{i}"
        names = [f"{label}_{j}" for j in range(len(parameters))]
        weights += [
            numpy_helper.from_array(np.asarray(p), n)
            for n, p in zip(names, parameters, strict=True)
        ]
        made.append(helper.make_node(op, [x, *names], [label], name=label, **attributes))
        x = label
    shape: list[int | str] = ["batch", 1, 8, 8]
    graph = helper.make_graph(
        made,
        name,
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, ["batch", 10])],
        weights,
    )
    opsets = [helper.make_opsetid("", OPSET)]
    return helper.make_model(
        graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="tetrapla"
    )


def main() -> None:
    """Train all nine and write them."""
    torch.set_num_threads(1)
    digits = np.load(DIGITS)
    x = torch.tensor(digits["x"], dtype=torch.float32)[:, None] / PIXEL_MAX
    y = torch.tensor(digits["y"], dtype=torch.long)
    train, test = (torch.tensor(digits[part], dtype=torch.long) for part in ("train", "test"))
    for kind in (mlp, cnn, dwcnn):
        for seed in range(SEEDS):
            torch.manual_seed(seed)
            net = trained(kind(), x[train], y[train])
            hits = (net(x[test]).argmax(1) == y[test]).float().mean().item()
            made = model(net, f"{kind.__name__}_{seed}")
            onnx.checker.check_model(made, full_check=True)
            path = HERE / f"{made.graph.name}.onnx"
            path.write_bytes(made.SerializeToString(deterministic=True))
            count = sum(p.numel() for p in net.parameters())
            print(f"{path.name}: {count} parameters, accuracy {hits:.4f}")  # noqa: T201


if __name__ == "__main__":
    main()
