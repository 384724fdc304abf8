"""What the tests of the bridge to TVM share."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version

import pytest

from tetrapla.tvm.pins import PINS


def installed() -> bool:
    """Whether the releases that the bridge works with are there."""
    try:
        return all(version(package) == wanted for package, wanted in PINS.items())
    except PackageNotFoundError:
        return False


needs_tvm = pytest.mark.skipif(
    not installed(), reason="the extra tvm is not installed (pip install '.[tvm]')"
)
