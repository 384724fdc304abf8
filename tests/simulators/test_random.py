"""Philox against golden words, normals against golden values; order does not matter."""

from __future__ import annotations

import csv
from pathlib import Path
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.ir.errors import SpecError
from tetrapla.simulators.random_ import Key, normal_of, normals, philox, uniforms, words

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "tetrapla" / "data" / "golden" / "analog" / "philox4x32_10.csv"


def _rows() -> list[dict[str, str]]:
    with GOLDEN.open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: row["c0"] + "-" + row["k0"])
def test_words_and_normals_are_the_golden_ones(row: dict[str, str]) -> None:
    counter = [int(row[f"c{i}"], 16) for i in range(4)]
    out = np.array(philox(counter, (int(row["k0"], 16), int(row["k1"], 16)))).reshape(4)
    assert [f"{word:08x}" for word in out] == [row[f"o{i}"] for i in range(4)]
    golden = np.array([float(row[f"z{i}"]) for i in range(4)])
    # the file has 17 digits; the function admits 1e-15 (1 + |z|)
    assert np.all(np.abs(normal_of(out) - golden) <= 1e-15 * (1 + np.abs(golden)))


def test_a_stream_is_addressed_as_documented() -> None:
    key = Key(seed=11, chip=12, layer=3, tile=4, purpose=5, read=6)
    # word 9 is lane 1 of block 2
    block = philox((2, 6, 3 << 16 | 4, 5), (11, 12))
    assert words(key, 10)[9] == block[1].item()


@given(
    n=st.integers(0, 300),
    start=st.integers(0, 300),
    count=st.integers(0, 40),
    seed=st.integers(0, 9),
)
def test_any_part_of_a_stream_is_the_same_numbers(
    n: int, start: int, count: int, seed: int
) -> None:
    key = Key(seed)
    whole = words(key, n + start + count)
    assert np.array_equal(words(key, count, start), whole[start : start + count])
    assert np.array_equal(normals(key, 10)[:5], normals(key, 5))


def test_parts_that_cross_the_inner_chunks_agree() -> None:
    key, start = Key(1), 4 * 65536 - 3
    assert np.array_equal(words(key, 4 * 65536 + 7)[start:], words(key, 10, start))
    assert np.array_equal(normals(key, 65540)[65530:], normals(key, 10, start=65530))


@pytest.mark.parametrize("part", ["seed", "chip", "layer", "tile", "purpose", "read"])
def test_every_part_of_the_key_changes_the_numbers(part: str) -> None:
    key = Key(1)
    changed = key.at(**{part: 2})
    assert not np.any(words(key, 8) == words(changed, 8))
    assert np.array_equal(words(changed.at(**{part: getattr(key, part)}), 8), words(key, 8))


def test_normals_agree_with_python_over_the_whole_range(rng: np.random.Generator) -> None:
    low = np.concatenate([np.arange(500), rng.integers(0, 1 << 31, 5000)]).astype(np.uint32)
    python = np.array([NormalDist().inv_cdf((int(w) + 0.5) / 2**32) for w in low])
    # two implementations of AS 241: each within 1e-15 (1 + |z|) of the truth
    assert np.all(np.abs(normal_of(low) - python) <= 2e-15 * (1 + np.abs(python)))
    # the other half is the mirror, exactly: word w and its complement
    assert np.array_equal(normal_of(~low), -normal_of(low))


def test_the_extremes_are_as_documented() -> None:
    low, high = normal_of(np.array([0, 2**32 - 1], dtype=np.uint32))
    assert -6.34 < low < -6.33
    assert high == -low


def test_moments_are_those_of_a_normal() -> None:
    z = normals(Key(3), 200_000)
    # standard errors: 1 / sqrt(n) = 2.2e-3 and 1 / sqrt(2 n) = 1.6e-3; five of each
    assert abs(z.mean()) < 5 * 2.2e-3
    assert abs(z.std() - 1) < 5 * 1.6e-3


def test_shapes_and_types() -> None:
    key = Key(0)
    assert words(key, 3).dtype == np.uint32
    assert normals(key, (2, 3)).shape == (2, 3)
    assert np.array_equal(normals(key, (2, 3)).ravel(), normals(key, 6))
    assert normals(key, 0).shape == (0,)
    u = uniforms(key, (4,))
    assert np.array_equal(u, (words(key, 4) + np.float64(0.5)) / 2**32)


def test_uniforms_never_reach_the_ends() -> None:
    assert (np.uint32(2**32 - 1).astype(np.float64) + 0.5) * 2.0**-32 < 1
    u = uniforms(Key(5), 10_000)
    assert 0 < u.min() < u.max() < 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed must be a whole number from 0 to 4294967295, not -1"),
        ({"seed": 1 << 32}, "seed must be a whole number from 0 to 4294967295, not 4294967296"),
        ({"tile": 65536}, "tile must be a whole number from 0 to 65535, not 65536"),
    ],
)
def test_a_key_out_of_range_is_refused(change: dict[str, int], message: str) -> None:
    with pytest.raises(SpecError) as caught:
        Key(1).at(**change)
    assert str(caught.value) == message


def test_a_stream_has_an_end() -> None:
    with pytest.raises(SpecError) as caught:
        words(Key(1), 2, start=(1 << 34) - 1)
    assert str(caught.value) == (
        "a random stream must lie within its 2^34 words, not 17179869183..17179869185"
    )
