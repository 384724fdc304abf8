"""What PyTorch holds in memory; all but the refusal need PyTorch itself."""

# pyright: reportUntypedBaseClass=false

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import pytest

import tetrapla
from tetrapla.ir.errors import ModelError, UnsupportedError

BOUND = 1e-4  # of the largest output, as for the stored programs
HAS_TORCH = importlib.util.find_spec("torch") is not None
needs_torch = pytest.mark.skipif(
    not HAS_TORCH,
    reason="needs PyTorch (tetrapla[torch]); stored exports are tested without it",
)


@pytest.mark.skipif(HAS_TORCH, reason="PyTorch is installed, so nothing is missing to refuse")
def test_without_pytorch_it_says_what_to_install() -> None:
    with pytest.raises(ModelError) as error:
        tetrapla.from_torch(object())
    assert str(error.value) == (
        "from_torch needs PyTorch, which is not installed; pip install 'tetrapla[torch]'"
    )


def close(module: Any, inputs: list[Any], wanted: list[Any]) -> None:
    arrays = [value.numpy() for value in inputs]
    found = tetrapla.evaluate(module, dict(zip(module.inputs, arrays, strict=True)))
    for got, want in zip(found.values(), wanted, strict=True):
        array = want.detach().numpy()
        assert got.shape == array.shape
        assert np.abs(got - array).max() <= BOUND * np.abs(array).max()


@needs_torch
@pytest.mark.filterwarnings("ignore")  # of torch.export's own
def test_a_module_a_program_and_its_core_give_the_same() -> None:
    import torch

    torch.manual_seed(0)
    layer = torch.nn.TransformerEncoderLayer(16, 4, 32, batch_first=True).eval()
    x = torch.randn(2, 5, 16)
    program = torch.export.export(layer, (x,))
    close(tetrapla.from_torch(layer, (x,)), [x], [layer(x)])
    close(tetrapla.from_torch(program), [x], [layer(x)])
    close(tetrapla.from_torch(program.run_decompositions()), [x], [layer(x)])


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_symbolic_dimensions_get_sizes() -> None:
    import torch

    class Mixer(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            n, rows, _ = x.shape
            return x.reshape(n * rows, -1).softmax(-1).view(n, rows, -1).sum(1)

    dynamic = {"x": {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}}
    program = torch.export.export(Mixer(), (torch.randn(2, 3, 4),), dynamic_shapes=dynamic)
    x = torch.randn(5, 7, 4)
    close(tetrapla.from_torch(program, batch=5, dims={"x.1": 7}), [x], [Mixer()(x)])
    with pytest.raises(ModelError) as error:
        tetrapla.from_torch(program)
    assert "which needs a value; pass --dim x.1=128, for instance" in str(error.value)


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_writing_in_place_reaches_what_shares_memory() -> None:
    import torch

    class Writes(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            y = x * 2
            rows, turned = y[1:3], y.t()
            rows.add_(1)
            turned[0] = 5
            y[:, 2].mul_(-1)
            return y, rows, turned, y.relu_().sum(0)

    x = torch.randn(4, 3)
    close(tetrapla.from_torch(Writes(), (x,)), [x], list(Writes()(x)))


@needs_torch
@pytest.mark.filterwarnings("ignore")
def test_loops_over_data_become_regions() -> None:
    import torch
    from torch._higher_order_ops.while_loop import while_loop

    class Loops(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            def on(i: Any, y: Any) -> Any:
                return (i < 5) & (y.sum() < 100)

            def step(i: Any, y: Any) -> Any:
                return i + 1, y * 2

            return while_loop(on, step, (torch.tensor(0), x))[1]

    x = torch.rand(3, 2)
    module = tetrapla.from_torch(torch.export.export(Loops(), (x,)))
    assert [node.kind for node in module.graph.nodes] == ["nn.while"]
    close(module, [x], [Loops()(x)])


@needs_torch
def test_what_it_cannot_take_is_refused() -> None:
    import torch

    class Counts(torch.nn.Module):
        def forward(self, x: Any) -> Any:
            return x.nonzero()

    for call, kind, message in (
        (
            lambda: tetrapla.from_torch(torch.nn.ReLU()),
            ModelError,
            "a torch.nn.Module must come with example inputs; pass args=(x,)",
        ),
        (
            lambda: tetrapla.from_torch("net"),
            ModelError,
            "from_torch takes an ExportedProgram or a torch.nn.Module, not str",
        ),
        (
            lambda: tetrapla.from_torch(Counts(), (torch.randn(3, 2),)),
            UnsupportedError,
            "1 call cannot be imported: aten.nonzero.default (only of known values: the size "
            "of its result depends on data) in nonzero; run_decompositions() on the program "
            "may replace them by others",
        ),
    ):
        with pytest.raises(kind) as error:
            call()
        assert str(error.value) == message
