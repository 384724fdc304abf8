"""SCALE-Sim's tables: layers by their sizes, refused by file, line and column."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tetrapla import models
from tetrapla.frontend.scalesim import load
from tetrapla.ir.errors import ModelError
from tetrapla.ir.op import OPS

TABLES = Path(__file__).parent / "scalesim"
HEADER = (
    "Layer name, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, "
    "Num Filter, Strides,"
)


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "t.csv"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_convolutions_are_the_products_that_scale_sim_makes_of_them() -> None:
    convolutions = load(TABLES / "resnet50.csv").graph.nodes
    products = load(TABLES / "resnet50_gemms.csv").graph.nodes
    assert len(convolutions) == len(products) == 54
    for conv, gemm in zip(convolutions, products, strict=True):
        assert conv.name == gemm.name
        macs = [OPS[node.kind].macs(node.operands, node.results[0]) for node in (conv, gemm)]
        assert macs[0] == macs[1]
        (_, channels, rows, cols), (k, n) = conv.operands[1].shape, gemm.operands[1].shape
        assert (channels * rows * cols, conv.operands[1].shape[0]) == (k, n)


def test_a_row_is_a_layer_with_its_own_input_and_output(tmp_path: Path) -> None:
    module = load(
        written(tmp_path, f"{HEADER}\na, 9, 8, 3, 2, 4, 6, 2,\na, 5, 5, 5, 5, 1, 1, 3\n")
    )
    assert {name: value.shape for name, value in module.inputs.items()} == {
        "a_in": (1, 4, 9, 8),
        "a_1_in": (1, 1, 5, 5),
    }
    # (9 - 3) / 2 + 1 = 4 rows; (8 - 2) / 2 + 1 = 4 columns
    assert {name: value.shape for name, value in module.outputs.items()} == {
        "a_out": (1, 6, 4, 4),
        "a_1_out": (1, 1, 1, 1),
    }
    assert module.shape_only


def test_a_rest_of_the_stride_makes_one_more_window(tmp_path: Path) -> None:
    (out,) = load(written(tmp_path, "a, 8, 9, 3, 3, 1, 1, 2,")).outputs.values()
    assert out.shape == (1, 1, 4, 4)  # ceil((8 - 3 + 2) / 2), (9 - 3) / 2 + 1


def test_a_depthwise_row_has_filters_for_each_channel(tmp_path: Path) -> None:
    (node,) = load(written(tmp_path, f"{HEADER}\nDP1, 6, 6, 3, 3, 8, 2, 1,\n")).graph.nodes
    assert node.attributes["groups"] == 8
    assert node.operands[1].shape == (16, 1, 3, 3)
    assert node.results[0].shape == (1, 16, 4, 4)


@pytest.mark.parametrize(
    "text",
    [
        "Layer,M,N,K,\ng,2,3,4,\n",
        "\ufeffLayer,M,N,K\r\ng,2,3,4\r\n\r\n",
        "g, 2, 3, 4",
        "Layer,M,N,K,Sparsity,\n,,,\ng,\t2,3 ,4,1:1,,\n",
        "name,m,n,k\ng,2,3,4,2:2\n",
    ],
)
def test_commas_spaces_and_headers_may_vary(tmp_path: Path, text: str) -> None:
    (node,) = load(written(tmp_path, text)).graph.nodes
    assert (node.name, [value.shape for value in node.operands]) == ("g", [(2, 4), (4, 3)])


SIZES = HEADER.removeprefix("Layer name, ").rstrip(",")
BAD: dict[str, tuple[str, str]] = {
    "nothing": ("", ": must have at least one layer, not none"),
    "a header alone": ("Layer,M,N,K,\n", ": must have at least one layer, not none"),
    "another table": (
        "a,b\n1,2\n",
        f":1:1: a layer must have a name and 7 sizes ({SIZES}) or 3 (M, N, K), not 2 fields",
    ),
    "a short row": (
        "Layer,M,N,K,\ng,2,3,4,\nh,2,3\n",
        ":3:1: a layer must have a name and 3 sizes (M, N, K), not 3 fields",
    ),
    "a row of the other kind": (
        f"{HEADER}\ng,2,3,4,\n",
        f":2:1: a layer must have a name and 7 sizes ({SIZES}), not 4 fields",
    ),
    "no number": (
        "g,2,3,4\nh, 2, x, 4\n",
        ":2:7: N must be a whole number from 1 to 999999999, not 'x'",
    ),
    "zero": ("g,2,0,4\n", ":1:5: N must be a whole number from 1 to 999999999, not '0'"),
    "a negative size": (
        "Layer,M,N,K\ng,-2,3,4\n",
        ":2:3: M must be a whole number from 1 to 999999999, not '-2'",
    ),
    "a huge size": (
        f"g,2,3,{'9' * 5000}\n",
        f":1:7: K must be a whole number from 1 to 999999999, not '{'9' * 63}...'",
    ),
    "a huge tensor": (
        "g,999999999,999999999,4\n",
        ":1:1: a layer's tensors must have at most 2147483648 elements, "
        "not shape [999999999, 4]",
    ),
    "a huge result": (
        "g,99999,99999,4\n",
        ":1:1: g: nn.matmul makes tensor<99999x99999xf32>, which is over 2147483648 elements",
    ),
    "a large filter": (
        "a, 4, 9, 3, 10, 1, 1, 1,\n",
        ":1:1: Filter Width must be at most the IFMAP's 9, not 10",
    ),
    "sparse": (
        "g,2,3,4,1:2,\n",
        ":1:1: a layer must be dense (1:1), not 1:2, since no weights say which; write 1:1, "
        "or take --compat scalesim",
    ),
    "no sparsity": ("g,2,3,4,dense,\n", ":1:9: a sparsity must be N:M, as 1:1, not 'dense'"),
    "more than all": (
        "g,2,3,4,5:4,\n",
        ":1:9: a sparsity N:M must have N from 1 to M, not 5:4",
    ),
    "another order": (
        "Layer,M,K,N\ng,2,3,4\n",
        ":1:7: the columns of GEMMs must be M, N, K, not M, K, N",
    ),
    "NUL": ("g,2,3,\0\n", ": must be text, not bytes with NUL in them"),
    "many rows": (
        "g,2,3,4\n" * 10_001,
        ":10001:1: a table must have at most 10000 layers",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_row_is_refused_with_its_place(tmp_path: Path, case: str) -> None:
    text, message = BAD[case]
    path = written(tmp_path, text)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{message}"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff\xfe\x00", "must be UTF-8 text; it cannot be read"),
        (b"g,2,3,4,\n" * 500_000, "must be at most 4194304 bytes"),
    ],
)
def test_what_is_no_table_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(ModelError) as caught:
        load(path)
    assert str(caught.value) == f"{path}: {message}"


def test_sizes_of_symbols_have_no_place_in_a_table(tmp_path: Path) -> None:
    path = written(tmp_path, "g,2,3,4\n")
    calls: dict[str, Callable[[], object]] = {
        "has no symbolic dimension 'n'; drop --dim": lambda: models.load(path, {"n": 2}),
        "has no batch; drop --batch 2": lambda: models.load(path, batch=2),
        "must be an .onnx file to have inputs fixed; drop --fix": lambda: models.load(
            path, fixed={"g_in": np.zeros(1)}
        ),
    }
    for message, call in calls.items():
        with pytest.raises(ModelError) as caught:
            call()
        assert str(caught.value) == f"{path}: {message}"


def test_the_sparsity_of_a_row_is_kept_for_who_asks(tmp_path: Path) -> None:
    path = written(tmp_path, "a,2,3,4,2:4,\nb,2,3,4,3:3,\na,2,3,4,1:8,\n")
    assert load(path, sparse=True).sparsity == {"a": (2, 4), "a_1": (1, 8)}
