"""Train the two example networks and write them as ONNX, together with the digits they saw.

    pip install tetrapla[train]
    python examples/train_digits.py

writes the files beside itself and into ``tetrapla/data/``.

The 1,797 8x8 digits come from scikit-learn (UCI Optical Recognition of Handwritten Digits);
the split is ``train_test_split(test_size=0.25, random_state=0, stratify=y)``. Seeds are fixed
and one thread is used, so the same versions of torch and scikit-learn give the same files.

Training shifts the images by up to one pixel, multiplies every weight with Gaussian noise and
decays them: the networks are meant to survive eight bits and noisy analog weights.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import cross_entropy

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = (ROOT / "examples", ROOT / "tetrapla" / "data")
OPSET, IR_VERSION = 17, 8
BATCH = 64
PIXEL_MAX = 16.0


def write_digits(path: Path) -> dict[str, NDArray[np.generic]]:
    """Write images, labels and the split; returns them."""
    images, labels = load_digits(return_X_y=True)
    train, test = train_test_split(
        np.arange(len(labels)), test_size=0.25, random_state=0, stratify=labels
    )
    arrays: dict[str, NDArray[np.generic]] = {
        "x": images.reshape(-1, 8, 8).astype(np.uint8),
        "y": labels.astype(np.uint8),
        "train": train.astype(np.int16),
        "test": test.astype(np.int16),
    }
    np.savez_compressed(path, **arrays)
    return arrays


class Mlp(nn.Module):
    """64-64-32-10 with ReLU."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1 = nn.Linear(64, 64)
        self.fc2 = nn.Linear(64, 32)
        self.fc3 = nn.Linear(32, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.fc1(x.flatten(1)))
        return self.fc3(torch.relu(self.fc2(x)))


class Cnn(nn.Module):
    """Three 3x3 convolutions, the first two normalised, two poolings, one linear layer."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, 8, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(8)
        self.conv2 = nn.Conv2d(8, 16, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16, 16, 3, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn1(self.conv1(x)))
        x = self.pool(torch.relu(self.bn2(self.conv2(x))))
        x = self.pool(torch.relu(self.conv3(x)))
        return self.fc(x.flatten(1))


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Each image moved by -1, 0 or 1 pixels in both directions, half of them left alone."""
    padded = nn.functional.pad(x, (1, 1, 1, 1))
    offsets = torch.randint(0, 3, (len(x), 2), generator=generator)
    offsets[torch.rand(len(x), generator=generator) < 0.5] = 1
    pairs = zip(padded, offsets.tolist(), strict=True)
    return torch.stack([image[:, i : i + 8, j : j + 8] for image, (i, j) in pairs])


def trained(net: nn.Module, x: Tensor, y: Tensor, epochs: int, noise_frac: float) -> nn.Module:
    """AdamW with a cosine rate; a step sees the weights times ``1 + noise_frac * N(0, 1)``."""
    generator = torch.Generator().manual_seed(1)
    optimizer = torch.optim.AdamW(net.parameters(), lr=3e-3, weight_decay=1e-2)
    steps = epochs * (len(x) // BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(epochs):
        order = torch.randperm(len(x), generator=generator)
        for start in range(0, len(x) - BATCH + 1, BATCH):
            chosen = order[start : start + BATCH]
            noisy = {
                name: p * (1 + noise_frac * torch.randn(p.shape, generator=generator))
                for name, p in net.named_parameters()
            }
            logits = functional_call(net, noisy, (shifted(x[chosen], generator),))
            loss = cross_entropy(logits, y[chosen], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    return net.eval()


class _Writer:
    """Collects the nodes of one ONNX graph; every value is named after its node."""

    def __init__(self, net: nn.Module) -> None:
        self.state = {k: v.detach().numpy() for k, v in net.state_dict().items()}
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def add(self, op: str, name: str, *inputs: str, **attributes: object) -> str:
        self.nodes.append(helper.make_node(op, inputs, [name], name=name, **attributes))
        return name

    def weight(self, key: str) -> str:
        name = key.replace(".", "_")
        self.weights.append(numpy_helper.from_array(self.state[key], name))
        return name

    def model(self, name: str, shape: list[int | str]) -> onnx.ModelProto:
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
            [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
            self.weights,
        )
        opsets = [helper.make_opsetid("", OPSET)]
        return helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="tetrapla"
        )


def mlp_onnx(net: nn.Module) -> onnx.ModelProto:
    """Gemm, Relu, Gemm, Relu, Gemm on the flattened image."""
    w = _Writer(net)
    x = w.add("Flatten", "flatten", "image", axis=1)
    for name, after in (("fc1", "relu1"), ("fc2", "relu2"), ("logits", "")):
        layer = "fc3" if name == "logits" else name
        weight, bias = w.weight(f"{layer}.weight"), w.weight(f"{layer}.bias")
        x = w.add("Gemm", name, x, weight, bias, transB=1)
        x = w.add("Relu", after, x) if after else x
    return w.model("digits_mlp", ["batch", 1, 8, 8])


def cnn_onnx(net: nn.Module) -> onnx.ModelProto:
    """Conv, BatchNormalization, Relu twice, Conv, Relu; the poolings; Gemm."""
    w = _Writer(net)
    window = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    x = "image"
    for i in ("1", "2"):
        x = w.add("Conv", f"conv{i}", x, w.weight(f"conv{i}.weight"), **window)
        keys = ("weight", "bias", "running_mean", "running_var")
        statistics = [w.weight(f"bn{i}.{key}") for key in keys]
        x = w.add("BatchNormalization", f"bn{i}", x, *statistics, epsilon=1e-5)
        x = w.add("Relu", f"relu{i}", x)
    x = w.add("MaxPool", "pool1", x, kernel_shape=[2, 2], strides=[2, 2])
    x = w.add("Conv", "conv3", x, w.weight("conv3.weight"), w.weight("conv3.bias"), **window)
    x = w.add("Relu", "relu3", x)
    x = w.add("MaxPool", "pool2", x, kernel_shape=[2, 2], strides=[2, 2])
    x = w.add("Flatten", "flatten", x, axis=1)
    w.add("Gemm", "logits", x, w.weight("fc.weight"), w.weight("fc.bias"), transB=1)
    return w.model("digits_cnn", ["batch", 1, 8, 8])


def main() -> None:
    """Train both and write them."""
    torch.set_num_threads(1)
    digits = write_digits(ROOT / "tetrapla" / "data" / "digits.npz")
    x = torch.tensor(digits["x"], dtype=torch.float32)[:, None] / PIXEL_MAX
    y = torch.tensor(digits["y"], dtype=torch.long)
    train, test = (torch.tensor(digits[part], dtype=torch.long) for part in ("train", "test"))
    for kind, to_onnx, epochs in ((Mlp, mlp_onnx, 120), (Cnn, cnn_onnx, 80)):
        torch.manual_seed(0)
        net = trained(kind(), x[train], y[train], epochs, noise_frac=0.05)
        hits = (net(x[test]).argmax(1) == y[test]).float().mean().item()
        model = to_onnx(net)
        onnx.checker.check_model(model, full_check=True)
        for folder in FOLDERS:
            path = folder / f"digits_{kind.__name__.lower()}.onnx"
            path.write_bytes(model.SerializeToString(deterministic=True))
        print(f"{path.name}: accuracy {hits:.4f}, {path.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
