"""Where PyTorch is there: it still gives the gradients that are kept."""

from __future__ import annotations

import numpy as np
import pytest

from tests.ir.gradient.every import CASES
from tests.ir.gradient.test_rules import GOLDEN, computed

pytest.importorskip("torch", reason="needs PyTorch; its stored gradients are tested without it")


def test_pytorch_still_gives_what_was_kept() -> None:
    from tests.ir.gradient.torch_peers import gradients

    with np.load(GOLDEN) as golden:
        for case in CASES:
            _, error = computed(case)
            found = gradients(case, case.cotangents(case.module()))
            for i, array in zip(case.differentiated, found, strict=True):
                kept = golden[f"{case.name}/{i}"]
                np.testing.assert_allclose(array, kept, rtol=0, atol=error, err_msg=case.name)
