"""Fixtures that every test may use."""

from __future__ import annotations

import zlib

import numpy as np
import pytest


@pytest.fixture
def rng(request: pytest.FixtureRequest) -> np.random.Generator:
    """A generator seeded by the test's name: the same numbers on every run."""
    return np.random.default_rng(zlib.crc32(request.node.nodeid.encode()))
