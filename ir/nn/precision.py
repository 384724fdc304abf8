"""In which type floats are computed, and how a result is rounded to its own type.

Functions of single numbers and sums run in float64. Products of matrices and what is made of
them run in float32 for f32, f16 and bf16 (as ONNX Runtime's kernels do, which convert the small
types first) and in float64 for f64. Either way the result is rounded once, to nearest even.
"""

from typing import Any

import numpy as np

from tetrapla.ir.graph import DTYPES, Array

_FLOATS = frozenset(DTYPES[name] for name in ("f64", "f32", "f16", "bf16"))
_WIDE = frozenset(np.dtype(held) for held in (np.float64, np.float32, np.float16))


def is_float(dtype: np.dtype[Any]) -> bool:
    """Whether arithmetic in that type is arithmetic of floats (NumPy's kinds do not say)."""
    return dtype in _FLOATS


def work_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type that products are summed in: float32 for the narrower floats, else itself."""
    return np.dtype(np.float32) if is_float(dtype) and dtype.itemsize < 4 else dtype


def rounded(x: Array, dtype: np.dtype[Any]) -> Array:
    """`x` in another type; floats to nearest even, in one rounding, whatever NumPy does."""
    with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN are values
        if x.dtype == np.float64 and dtype not in _WIDE and dtype.kind not in "iub":
            # ml_dtypes rounds to float32 and then again
            return np.asarray(_to_odd(x)).astype(dtype)
        return np.asarray(x.astype(dtype, copy=False))


def _to_odd(x: Array) -> Array:
    # float64 towards zero to float32, with the last bit set where something was lost: such a
    # number lies on the same side of every tie of a type with fewer bits
    near = np.atleast_1d(x).astype(np.float32)
    exact = np.atleast_1d(x)
    lost = (near != exact) & ~np.isnan(exact)
    bits = near.view(np.int32) - (lost & (np.abs(near) > np.abs(exact)))
    return np.asarray((bits | lost).astype(np.int32).view(np.float32)).reshape(x.shape)
