"""ONNX's own backend test suite through the importer and the interpreter.

A case whose sizes, axes or counts are inputs of the graph comes in with those fixed to the
case's values: the IR is static.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from tetrapla.frontend.onnx import load
from tetrapla.frontend.onnx.operators import OPERATORS
from tetrapla.ir.errors import TetraplaError, UnsupportedError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.module import Module

LISTED = Path(__file__).parent / "onnx_suite_excluded.txt"
# operators of the table that no passing node case has; test_onnx and test_models judge them
NOT_IN_THE_SUITE = {"GlobalLpPool", "NonZero"}
Sets = list[tuple[list[Any], list[Any]]]


def cases(kind: str) -> list[Any]:
    loader: Any = import_module("onnx.backend.test.loader")
    return [*loader.load_model_tests(kind=kind)]


def content(case: Any) -> tuple[onnx.ModelProto, Sets]:
    """A case's model and data, which are in memory or in a folder."""
    if case.model is not None:
        return case.model, case.data_sets
    folder = Path(case.model_dir)
    model = onnx.load(folder / "model.onnx")
    sets: Sets = []
    for place in sorted(folder.glob("test_data_set_*")):
        read: list[list[Any]] = []
        for stem, infos in (("input", model.graph.input), ("output", model.graph.output)):
            files = [place / f"{stem}_{index}.pb" for index in range(len(infos))]
            read.append([_tensor(file) for file in files if file.exists()])
        sets.append((read[0], read[1]))
    return model, sets


def _tensor(file: Path) -> Array:
    tensor = onnx.TensorProto()
    tensor.ParseFromString(file.read_bytes())
    return numpy_helper.to_array(tensor)


def plain(value: Any) -> Array:
    if isinstance(value, onnx.TensorProto):
        return numpy_helper.to_array(value)
    if not isinstance(value, (np.ndarray, np.generic)):
        raise UnsupportedError(f"a {type(value).__name__} as a value")
    return np.asarray(value)


def imported(path: Path, feeds: dict[str, Array]) -> tuple[Module, dict[str, Array]]:
    """The module, and what is left to feed."""
    try:
        return load(path), feeds
    except TetraplaError:
        first = next(iter(feeds), "")
        fixed = {
            name: array
            for name, array in feeds.items()
            if array.ndim == 0
            or (array.ndim == 1 and (array.dtype.kind in "iub" or name != first))
        }
        if not fixed:
            raise
        left = {name: array for name, array in feeds.items() if name not in fixed}
        return load(path, fixed=fixed), left


def failure(case: Any, path: Path) -> str:
    """Why a case does not pass; empty if it does."""
    model, sets = content(case)
    path.write_bytes(model.SerializeToString())
    held = {tensor.name for tensor in model.graph.initializer}
    names = [info.name for info in model.graph.input if info.name not in held]
    for inputs, outputs in sets:
        every = names if len(inputs) <= len(names) else [i.name for i in model.graph.input]
        try:
            feeds = {
                name: plain(value)
                for name, value in zip(every, inputs, strict=False)
                if value is not None
            }
            module, left = imported(path, feeds)
            found = evaluate(module, dict(zip(module.inputs, left.values(), strict=True)))
        except TetraplaError as error:
            return str(error).removeprefix(f"{path}: ")
        for array, want in zip(found.values(), map(plain, outputs), strict=True):
            if not _close(array, want, case):
                return "another result"
    return ""


def _close(found: Array, expected: Array, case: Any) -> bool:
    if found.dtype != expected.dtype or found.shape != expected.shape:
        return False
    if expected.dtype.kind not in "fV":
        return np.array_equal(found, expected)
    a, b = found.astype(np.float64), expected.astype(np.float64)
    # the suite's own tolerance, which each case may set
    return np.allclose(a, b, rtol=case.rtol, atol=case.atol, equal_nan=True)


@pytest.mark.parametrize(
    ("kind", "count"), [("pytorch-converted", 82), ("pytorch-operator", 35)]
)
def test_everything_that_came_from_pytorch_passes(
    kind: str, count: int, tmp_path: Path
) -> None:
    found = cases(kind)
    assert len(found) == count
    assert [case.name for case in found if failure(case, tmp_path / "m.onnx")] == []


def listed() -> dict[str, str]:
    """Excluded node cases and the reason; the operator is the heading above them."""
    found: dict[str, str] = {}
    for line in LISTED.read_text("utf-8").splitlines():
        if line.startswith("test_"):
            name, _, reason = line.partition("\t")
            found[name] = reason
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the suite computes its own expectations with overflow
def test_node_cases_pass_but_for_those_listed(tmp_path: Path) -> None:
    path, found = tmp_path / "m.onnx", cases("node")
    failures = {case.name: reason for case in found if (reason := failure(case, path))}
    more = {name: failures[name] for name in sorted(set(failures) - set(listed()))}
    assert more == {}
    # onnx 1.23.2 has 1,884 cases; ONNX Runtime 1.31.1 passes 1,345 of them
    assert len(found) - len(failures) >= 1600
    judged = {
        node.op_type
        for case in found
        if case.name not in failures
        for node in case.model.graph.node
    }
    claimed = {op for domain, op in OPERATORS if not domain}
    assert claimed - judged == NOT_IN_THE_SUITE


def test_every_excluded_case_has_a_reason() -> None:
    assert len(listed()) < 284
    assert [name for name, reason in listed().items() if not reason] == []
