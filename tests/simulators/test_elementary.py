"""exp and ln against decimals of fifty digits."""

from __future__ import annotations

from decimal import Decimal, localcontext

import numpy as np
import pytest

from tetrapla.simulators.elementary_ import exp, horner, ln, ln_of


def test_exp_is_right_to_the_last_digits(rng: np.random.Generator) -> None:
    x = np.concatenate((rng.uniform(-700, 700, 500), rng.uniform(-1, 1, 500), [0.0, -0.0]))
    with localcontext() as context:
        context.prec = 50
        for given, found in zip(x.tolist(), exp(x).tolist(), strict=True):
            true = Decimal(given).exp()
            assert abs(Decimal(found) - true) <= Decimal("1e-15") * true


def test_ln_is_right_to_the_last_digits(rng: np.random.Generator) -> None:
    x = np.concatenate((np.exp(rng.uniform(-700, 700, 500)), rng.uniform(0.5, 2, 500), [1.0]))
    with localcontext() as context:
        context.prec = 50
        for given, found in zip(x.tolist(), ln(x).tolist(), strict=True):
            true = Decimal(given).ln()
            assert abs(Decimal(found) - true) <= Decimal("1e-15") * (1 + abs(true))
            assert ln_of(given) == found


def test_both_are_exact_where_nothing_is_to_be_rounded() -> None:
    assert exp(np.zeros(3)).tolist() == [1, 1, 1]
    assert ln(np.ones(3)).tolist() == [0, 0, 0]


def test_exp_ends_where_float64_does() -> None:
    assert exp(np.array([-800.0, -np.inf])).tolist() == exp(np.array([-700.0] * 2)).tolist()
    assert exp(np.array([-700.0]))[0] == pytest.approx(9.859676543759770e-305, rel=1e-14)


def test_a_place_in_an_array_changes_no_bit(rng: np.random.Generator) -> None:
    x = rng.uniform(0.1, 30, 1001)
    for function in (exp, ln):
        whole = function(x)
        assert np.array_equal(function(x[::7].copy()), whole[::7])
        assert np.array_equal(function(x[::7]), whole[::7])
        assert function(x[500:501])[0] == whole[500]


def test_horner_takes_the_highest_power_first() -> None:
    assert horner((2.0, 3.0, 5.0), np.array([10.0])).tolist() == [235]
