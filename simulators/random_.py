"""Random numbers by address: Philox4x32-10 and normals from it, the same in any order.

A number depends on its `Key` and its index alone, so chunks, threads and the order of reads do
not matter, and two designs can share their noise. Generator: Salmon et al., "Parallel random
numbers: as easy as 1, 2, 3", SC 2011 (Random123's convention; NumPy's own Philox is the 4x64
variant, another one).

Word ``i`` is lane ``i % 4`` of the block with counter (``i // 4``, read, layer << 16 | tile,
purpose) under the key (seed, chip). One word gives one normal, z = Phi^-1((w + 1/2) / 2^32),
so |z| <= 6.34.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields, replace
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
from numpy.typing import NDArray

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.elementary_ import horner, ln

if TYPE_CHECKING:
    from collections.abc import Sequence

Words: TypeAlias = NDArray[np.uint32]
Reals: TypeAlias = NDArray[np.float64]

_WORD_BITS = {"seed": 32, "chip": 32, "layer": 16, "tile": 16, "purpose": 32, "read": 32}
_ROUNDS = 10
_MULTIPLIERS = (np.uint64(0xD2511F53), np.uint64(0xCD9E8D57))
_WEYL = (0x9E3779B9, 0xBB67AE85)  # golden ratio, sqrt(3) - 1
_LOW = np.uint64(0xFFFFFFFF)
_SHIFT = np.uint64(32)
_CHUNK = 1 << 16  # blocks at a time, so that the state stays in the cache


@dataclass(frozen=True)
class Key:
    """The address of a stream of random numbers.

    Attributes:
        seed: the run's, 32 bits.
        chip: instance of the device, for yield studies, 32 bits.
        layer: number of the operator, 16 bits.
        tile: number of the array in its layer, 16 bits.
        purpose: which effect draws (programming, read, ...), 32 bits.
        read: how often it drew before, 32 bits.
    """

    seed: int
    chip: int = 0
    layer: int = 0
    tile: int = 0
    purpose: int = 0
    read: int = 0

    def __post_init__(self) -> None:
        for entry in fields(self):
            value, bits = getattr(self, entry.name), _WORD_BITS[entry.name]
            if not 0 <= value < 1 << bits:
                raise SpecError(
                    f"{entry.name} must be a whole number from 0 to {(1 << bits) - 1}, "
                    f"not {value}"
                )

    def at(self, **changes: int) -> Key:
        """Return the key with some parts changed, e.g. ``key.at(layer=3, read=7)``."""
        return replace(self, **changes)

    def to_dict(self) -> dict[str, int]:
        """Return its parts by name."""
        return asdict(self)


def words(key: Key, n: int, start: int = 0) -> Words:
    """Return words `start` to `start + n` of a stream, uint32."""
    if n < 0 or start < 0 or start + n > 1 << 34:
        raise SpecError(
            f"a random stream must lie within its 2^34 words, not {start}..{start + n}"
        )
    first, last = start // 4, -(-(start + n) // 4)
    blocks = np.empty((last - first, 4), dtype=np.uint32)
    for begin in range(first, last, _CHUNK):
        end = min(begin + _CHUNK, last)
        element = np.arange(begin, end, dtype=np.uint64)
        counter = (element, key.read, key.layer << 16 | key.tile, key.purpose)
        for lane, word in enumerate(philox(counter, (key.seed, key.chip))):
            blocks[begin - first : end - first, lane] = word
    skip = start - 4 * first
    return blocks.reshape(-1)[skip : skip + n]


def uniforms(key: Key, shape: int | Sequence[int], start: int = 0) -> Reals:
    """Return float64 in the open interval (0, 1): (w + 1/2) / 2^32, exactly."""
    size = _size(shape)
    # w + 1/2 has 33 bits and the divisor is a power of two, so nothing is rounded
    halves: Reals = (words(key, size, start).astype(np.float64) + 0.5) * 2.0**-32
    return halves.reshape(shape)


def normals(key: Key, shape: int | Sequence[int], start: int = 0) -> Reals:
    """Return standard normals, float64, one word each."""
    return normal_of(words(key, _size(shape), start)).reshape(shape)


def normal_of(word: Words) -> Reals:
    """Return z = Phi^-1((w + 1/2) / 2^32) within 1e-15 (1 + |z|).

    M. J. Wichura, "Algorithm AS 241", Applied Statistics 37 (1988), PPND16. Only + - x / and
    sqrt act on the numbers, which IEEE 754 rounds alike everywhere: `numpy.log` does not.
    """
    # q = p - 1/2 and the distance to the nearer end are exact in float64
    q = (word.astype(np.float64) - (2.0**31 - 0.5)) * 2.0**-32
    z: Reals = np.empty_like(q)
    for begin in range(0, z.size, _CHUNK):
        part = q[begin : begin + _CHUNK]
        central = np.abs(part) <= 0.425
        near, far = part[central], part[~central]
        out = z[begin : begin + _CHUNK]
        r = 0.180625 - near * near
        out[central] = near * _ratio(_CENTRE_NUMERATOR, _CENTRE_DENOMINATOR, r)
        # the end is at least 2^-33 away, so r <= 4.79 and AS 241's third range never occurs
        r = np.sqrt(-ln(0.5 - np.abs(far))) - 1.6
        out[~central] = np.copysign(_ratio(_TAIL_NUMERATOR, _TAIL_DENOMINATOR, r), far)
    return z


def philox(
    counter: Sequence[NDArray[np.uint64] | int], key: tuple[int, int]
) -> tuple[Words, Words, Words, Words]:
    """Return the four output words of Philox4x32-10 for each counter; arguments broadcast."""
    c0, c1, c2, c3 = (np.asarray(word, dtype=np.uint64) for word in counter)
    k0, k1 = key
    for _ in range(_ROUNDS):
        # one round: two 32 x 32 -> 64 products, high halves mixed with the other lanes
        a, b = c0 * _MULTIPLIERS[0], c2 * _MULTIPLIERS[1]
        c0, c2 = (b >> _SHIFT) ^ c1 ^ np.uint64(k0), (a >> _SHIFT) ^ c3 ^ np.uint64(k1)
        c1, c3 = b & _LOW, a & _LOW
        k0, k1 = (k0 + _WEYL[0]) & 0xFFFFFFFF, (k1 + _WEYL[1]) & 0xFFFFFFFF
    w0, w1, w2, w3 = (word.astype(np.uint32) for word in (c0, c1, c2, c3))
    return w0, w1, w2, w3


def _size(shape: int | Sequence[int]) -> int:
    return shape if isinstance(shape, int) else prod(shape)


def _ratio(above: tuple[float, ...], below: tuple[float, ...], x: Reals) -> Reals:
    quotient: Reals = horner(above, x) / horner(below, x)
    return quotient


# AS 241, from the highest power down
_CENTRE_NUMERATOR = (
    2.5090809287301226727e3,
    3.3430575583588128105e4,
    6.7265770927008700853e4,
    4.5921953931549871457e4,
    1.3731693765509461125e4,
    1.9715909503065514427e3,
    1.3314166789178437745e2,
    3.3871328727963666080e0,
)
_CENTRE_DENOMINATOR = (
    5.2264952788528545610e3,
    2.8729085735721942674e4,
    3.9307895800092710610e4,
    2.1213794301586595867e4,
    5.3941960214247511077e3,
    6.8718700749205790830e2,
    4.2313330701600911252e1,
    1.0,
)
_TAIL_NUMERATOR = (
    7.74545014278341407640e-4,
    2.27238449892691845833e-2,
    2.41780725177450611770e-1,
    1.27045825245236838258e0,
    3.64784832476320460504e0,
    5.76949722146069140550e0,
    4.63033784615654529590e0,
    1.42343711074968357734e0,
)
_TAIL_DENOMINATOR = (
    1.05075007164441684324e-9,
    5.47593808499534494600e-4,
    1.51986665636164571966e-2,
    1.48103976427480074590e-1,
    6.89767334985100004550e-1,
    1.67638483018380384940e0,
    2.05319162663775882187e0,
    1.0,
)
