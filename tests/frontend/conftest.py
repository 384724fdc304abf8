"""ONNX Runtime, the oracle of the ONNX tests."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any

import pytest

from tetrapla.ir.graph import Array


@pytest.fixture
def runtime() -> Callable[[bytes], Callable[[Mapping[str, Array]], list[Array]]]:
    """A model's bytes to the function that ONNX Runtime computes."""
    onnxruntime: Any = import_module("onnxruntime")

    def prepared(data: bytes) -> Callable[[Mapping[str, Array]], list[Array]]:
        session = onnxruntime.InferenceSession(data)
        return lambda feeds: [*session.run(None, dict(feeds))]

    return prepared
