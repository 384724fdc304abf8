"""Shift and add: every sum is the policy's, in the cycles that its law states."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from tests.ir.crossbar.test_shift_add import lossless_codes
from tests.rtl.mutants import Mutant, mutated
from tetrapla.ir.crossbar.shift_add import (
    CodeFormat,
    Overflow,
    ShiftAdd,
    paired,
    shift_add,
)
from tetrapla.ir.graph import Array
from tetrapla.simulators.rtl.model import Model
from tetrapla.simulators.rtl.toolchain import Design, lint

HERE = Path(__file__).parent
PARTS, DIGITS, SHIFT_BITS = 8, 8, 5
LOG_WAITS, LOG_PRODUCTS, LOG_BITS = 10, 5, 16
FORMATS: tuple[CodeFormat, ...] = ("unsigned", "offset", "signed")
OVERFLOWS: tuple[Overflow, ...] = ("saturate", "wrap")


def design(columns: int, adcs: int, code_bits: int, sum_bits: int) -> Design:
    sizes = {"COLUMNS": columns, "ADCS": adcs, "CODE_W": code_bits, "SUM_W": sum_bits}
    fixed = {"PARTS": PARTS, "DIGITS": DIGITS, "SHIFT_W": SHIFT_BITS}
    logs = {"LOG_WAITS": LOG_WAITS, "LOG_PRODUCTS": LOG_PRODUCTS, "LOG_BITS": LOG_BITS}
    return Design(
        "shift_add_bench",
        ("shift_add.sv", HERE / "shift_add_bench.sv"),
        {**sizes, **fixed, **logs},
        (
            *("settings", "shifts", "bits", "given", "ready"),
            *("starts", "ends", "overflows", "sums", "sent"),
        ),
        quick=True,
    )


SHARED = design(12, 4, 8, 24)  # three columns to a converter
DESIGNS = (SHARED, design(5, 5, 1, 9), design(6, 2, 9, 32))


@dataclass(frozen=True)
class Product:
    """Code words [digits, parts, columns], and how they count."""

    codes: Array
    how: ShiftAdd


@dataclass(frozen=True)
class Played:
    """What the RTL did: sums [products, columns], and by product where it overflowed.

    `starts` and `ends` are cycles by product; `sent` are those of the sums of each turn.
    """

    sums: Array
    overflows: Array
    starts: Array
    ends: Array
    sent: Array


def played(made: Design, products: Sequence[Product], given: Array, ready: Array) -> Played:
    """Run products behind each other; bits come and sums are taken where the patterns are 1."""
    columns, adcs = made.parameters["COLUMNS"], made.parameters["ADCS"]
    settings = np.zeros((2**LOG_PRODUCTS, 8), np.uint32)
    shifts = np.zeros((2**LOG_PRODUCTS, PARTS), np.uint8)
    for n, (codes, how) in enumerate((p.codes, p.how) for p in products):
        negative = sum(int(sign) << part for part, sign in enumerate(how.negative))
        coding, saturates = FORMATS.index(how.code_format), how.overflow == "saturate"
        first = (*codes.shape[:2], how.digit_bits, how.signed_inputs, coding, saturates)
        settings[n] = (*first, negative, n == len(products) - 1)
        shifts[n, : len(how.shifts)] = how.shifts
    bits = np.concatenate([beats(p.codes, adcs, p.how.code_bits) for p in products])
    with Model(made) as model:
        model.memory("settings", np.uint32)[:] = settings.ravel()
        model.memory("shifts", np.uint8)[:] = shifts.ravel()
        model.memory("bits", np.uint32)[: len(bits)] = bits
        model.memory("given", np.uint8)[:] = given
        model.memory("ready", np.uint8)[:] = ready
        model.reset()
        assert model.run(2**20) < 2**20
        words = len(products) * columns
        sums = model.memory("sums", np.int64)[:words].reshape(-1, columns).copy()
        overflows, starts, ends = (
            model.memory(name, np.uint32)[: len(products)].astype(np.int64)
            for name in ("overflows", "starts", "ends")
        )
        sent = model.memory("sent", np.uint32)[: words // adcs].astype(np.int64)
    return Played(sums, overflows, starts, ends, sent)


def beats(codes: Array, adcs: int, code_bits: int) -> Array:
    """The bits of each cycle, a word each: by digit, part and turn, the highest bit first."""
    turns = codes.reshape(-1, adcs)
    places = np.arange(code_bits)[::-1]
    bits = turns[:, None, :] >> places[None, :, None] & 1
    words: Array = (bits << np.arange(adcs)).sum(axis=2).ravel()
    return words


def cycles(
    made: Design, products: Sequence[Product], given: Array, ready: Array
) -> tuple[list[int], list[int], list[int]]:
    """By the law in shift_add.sv: starts, ends, and when each turn's sums are taken."""
    turns = made.parameters["COLUMNS"] // made.parameters["ADCS"]
    now, starts, ends, sent = 0, [], [], []
    for product in products:
        starts.append(now)
        for _ in range(product.codes.size // made.parameters["ADCS"] * product.how.code_bits):
            now = waited(now + 1, given)
        now += 1  # the last addition
        for _ in range(turns):
            now = waited(now + 1, ready)
            sent.append(now)
        now += 1
        ends.append(now)
        now += 1  # of the bench, between products
    return starts, ends, sent


def waited(cycle: int, pattern: Array) -> int:
    """The first cycle from this one on in which the pattern is 1."""
    while not pattern[cycle % len(pattern)]:
        cycle += 1
    return cycle


def drawn(made: Design, rng: np.random.Generator) -> Product:
    """A product of any settings and codes, many of them at the ends of their bits."""
    code_bits = made.parameters["CODE_W"]
    digits, parts = int(rng.integers(1, DIGITS + 1)), int(rng.integers(1, PARTS + 1))
    codes = rng.integers(0, 1 << code_bits, (digits, parts, made.parameters["COLUMNS"]))
    top = (1 << code_bits) - 1
    codes = np.where(rng.random(codes.shape) < 0.3, rng.choice([0, top, top // 2 + 1]), codes)
    how = ShiftAdd(
        shifts=tuple(rng.integers(0, rng.choice([3, 12, 32]), parts).tolist()),
        negative=tuple((rng.random(parts) < 0.5).tolist()),
        digit_bits=int(rng.choice([1, 2, 8, 31])),
        signed_inputs=bool(rng.integers(2)),
        code_bits=code_bits,
        code_format=FORMATS[rng.integers(3)],
        sum_bits=made.parameters["SUM_W"],
        overflow=OVERFLOWS[rng.integers(2)],
    )
    return Product(codes, how)


def directed(made: Design) -> list[Product]:
    """One addition each, of codes at the ends of their bits, to the ends of the sum's."""
    code_bits, sum_bits = made.parameters["CODE_W"], made.parameters["SUM_W"]
    top = (1 << code_bits) - 1
    ends = np.resize([0, top, top // 2, top // 2 + 1], (1, 1, made.parameters["COLUMNS"]))
    how = ShiftAdd((0,), (False,), 1, False, code_bits, "unsigned", sum_bits, "saturate")
    return [
        Product(ends, replace(how, shifts=(shift,), negative=(sign,), code_format=name))
        for shift in (sum_bits - code_bits - 1, sum_bits - code_bits, sum_bits - 1)
        for sign in (False, True)
        for name in FORMATS
    ]


def patterns(rng: np.random.Generator) -> tuple[Array, Array]:
    given, ready = rng.random((2, 2**LOG_WAITS)) < rng.choice([0.3, 0.9, 1.0], (2, 1))
    return given.astype(np.uint8), ready.astype(np.uint8)


def differs(made: Design, rng: np.random.Generator) -> str:
    """What differs first between policy, law and RTL; empty where nothing does."""
    products = [*directed(made), *(drawn(made, rng) for _ in range(12))]
    given, ready = patterns(rng)
    found = played(made, products, given, ready)
    answers = [shift_add(p.codes, p.how) for p in products]
    if not np.array_equal(found.sums, [sums for sums, _ in answers]):
        return "sums"
    if not np.array_equal(found.overflows, [left.any() for _, left in answers]):
        return "overflows"
    starts, ends, sent = cycles(made, products, given, ready)
    same = (
        np.array_equal(found.starts, starts)
        and np.array_equal(found.ends, ends)
        and np.array_equal(found.sent, sent)
    )
    return "" if same else "cycles"


@pytest.mark.parametrize("made", DESIGNS, ids=["shared", "one bit", "nine bits"])
def test_random_products_compute_the_policy_in_the_stated_cycles(
    made: Design, rng: np.random.Generator
) -> None:
    for _ in range(4):
        assert differs(made, rng) == ""


def test_a_product_without_waits_takes_what_the_law_says(rng: np.random.Generator) -> None:
    product = drawn(SHARED, rng)
    digits, parts, columns = product.codes.shape
    always = np.ones(2**LOG_WAITS, np.uint8)
    found = played(SHARED, [product], always, always)
    turns = columns // 4
    assert found.starts.tolist() == [0]
    assert found.ends.tolist() == [digits * parts * turns * 8 + turns + 2]


def test_lossless_codes_give_the_plain_product(rng: np.random.Generator) -> None:
    x, w = rng.integers(-128, 128, (20, 96)), rng.integers(-127, 128, (96, 6))
    codes = lossless_codes(x, w, 8, 4, 2)
    shifts, negative = paired(range(0, 8, 2))
    how = ShiftAdd(shifts, negative, 1, True, 9, "unsigned", 32, "saturate")
    products = [Product(codes[:, :, row], how) for row in range(len(x))]
    found = played(DESIGNS[2], products, *patterns(rng))
    assert np.array_equal(found.sums, x @ w)
    assert not found.overflows.any()


@pytest.mark.parametrize(
    ("negative", "overflow", "sums", "overflows"),
    [
        (False, "saturate", [255, 255], [0, 1]),
        (False, "wrap", [255, -256], [0, 1]),
        (True, "saturate", [-255, -256], [0, 0]),
        (True, "wrap", [-255, -256], [0, 0]),
    ],
)
def test_the_ends_of_nine_bits(
    negative: bool, overflow: Overflow, sums: list[int], overflows: list[int]
) -> None:
    # eight parts of one bit are 255; another 1 comes in a second digit that counts as the first
    codes = np.ones((2, 8, 5), np.int64)
    codes[1, 1:] = 0
    how = ShiftAdd(tuple(range(8)), (negative,) * 8, 0, False, 1, "unsigned", 9, overflow)
    always = np.ones(2**LOG_WAITS, np.uint8)
    products = [Product(codes[:1], how), Product(codes, how)]
    done = played(DESIGNS[1], products, always, always)
    assert done.sums.tolist() == [[y] * 5 for y in sums]
    assert done.overflows.tolist() == overflows


@pytest.mark.parametrize(
    "made",
    [*DESIGNS, design(128, 8, 8, 32), design(1, 1, 12, 48)],
    ids=lambda made: " ".join(f"{name}={n}" for name, n in list(made.parameters.items())[:4]),
)
def test_the_unit_is_lint_clean(made: Design) -> None:
    assert lint(made) == ""


MUTANTS = (
    Mutant("shift_add.sv", "total < -TOP - 1)", "total < -TOP)"),
    Mutant("shift_add.sv", "(WIDE'(1) << (SUM_W - 1)) - 1", "(WIDE'(1) << (SUM_W - 1)) - 2"),
    Mutant("shift_add.sv", "base + BASE_W'(digit_shift)", "base + BASE_W'(1)"),
    Mutant("shift_add.sv", "amount_n = (BASE_W + 1)'(SUM_W);", "amount_n = '0;"),
    Mutant(
        "shift_add.sv", "signs && digit == digits - 1'b1", "signs && digit == digits - 2'd2"
    ),
)
MORE = (
    Mutant("shift_add.sv", "x ^ CODE_W'(1 << (CODE_W - 1))", "x ^ CODE_W'(1)"),
    Mutant("shift_add.sv", "adds_first <= digit == 0 &&", "adds_first <="),
    Mutant("shift_add.sv", "CODE_W'({code[a], bits_i[a]})", "{bits_i[a], code[a][CODE_W-1:1]}"),
    Mutant(
        "shift_add.sv",
        "bits_ready_o = phase == CONVERT && !adds_last;",
        "bits_ready_o = phase == CONVERT;",
    ),
)


@pytest.mark.parametrize(
    "mutant",
    [*MUTANTS, *(pytest.param(m, marks=pytest.mark.slow) for m in MORE)],
    ids=str,
)
def test_an_error_in_the_unit_is_caught(
    tmp_path: Path, rng: np.random.Generator, mutant: Mutant
) -> None:
    assert differs(mutated(SHARED, mutant, tmp_path), rng) != ""
