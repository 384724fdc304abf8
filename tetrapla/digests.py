"""What a model is, in a number: the same model gives it again, another hardly ever does."""

from __future__ import annotations

import hashlib
import json

import numpy as np

from tetrapla.ir.module import Module


def model_sha256(module: Module) -> str:
    """SHA-256 of a model's operators and weights as they were read, in hexadecimal.

    It is not that of the file, which holds names and versions that no figure depends on.
    """
    digest = hashlib.sha256(module.text().encode())
    for name, array in sorted(module.weights.items()):
        content = np.ascontiguousarray(array)
        digest.update(json.dumps([name, str(content.dtype), content.shape]).encode())
        digest.update(content.view(np.uint8).reshape(-1).data)
    return digest.hexdigest()
