"""Who wins, and what a difference means, by hand numbers."""

from __future__ import annotations

import numpy as np
import pytest

from tetrapla.architecture.evolution import History, Member, Priced, front
from tetrapla.architecture.judging import Validated, binomial_p, interval, paired, winner
from tetrapla.architecture.search import finalists
from tetrapla.frontend.zoo.digits import parse

BASELINE = Validated("baseline", 90.0, 12, 1347)


def validated(label: str, cost: float, errors: float) -> Validated:
    return Validated(label, cost, errors, 1347)


def test_the_cheapest_within_one_standard_error_wins() -> None:
    # 6 of 1347: one standard error is sqrt(6 (1 - 6/1347)) = 2.4 errors
    found = [validated("best", 70, 6), validated("close", 30, 8), validated("far", 10, 9)]
    assert winner(found, BASELINE).label == "close"


def test_the_baselines_shape_wins_where_nothing_cheaper_is_as_good() -> None:
    # 12 of 1347: one standard error is 3.4 errors
    assert winner([validated("worse", 10, 16)], BASELINE) == BASELINE
    assert winner([validated("alike", 10, 15)], BASELINE).label == "alike"


def test_no_errors_at_all_leave_room_for_less_than_one() -> None:
    # a noisy machine's errors are a mean over chips; sqrt(1/2) = 0.7
    found = [validated("none", 50, 0), validated("half", 20, 0.5), validated("one", 10, 1)]
    assert winner(found, BASELINE).label == "half"


def test_mcnemar_counts_what_one_alone_has_right() -> None:
    ours = np.array([True, True, True, False, True])
    theirs = np.array([True, False, False, True, True])
    assert paired(ours, theirs) == {
        "only_winner_right": 2,
        "only_baseline_right": 1,
        "p_value": 1.0,
    }
    assert binomial_p(0, 5) == pytest.approx(2 / 32)
    assert binomial_p(1, 6) == pytest.approx(2 * 7 / 64)
    assert binomial_p(0, 0) == 1.0


def test_an_interval_holds_its_share() -> None:
    found = interval(np.array([True] * 449 + [False]))
    assert (found["right"], found["samples"]) == (449, 450)
    # (x + z^2/2 +- z sqrt(x (1 - x) n + z^2/4)) / (n + z^2), with z = 1.96
    np.testing.assert_allclose(found["interval_95"], [0.98753, 0.99961], atol=1e-5)


def member(cost: float, loss: float, label: str = "h0-b8") -> Member:
    return Member(Priced(parse(label), cost, ()), cost, loss, 0)


def test_the_front_is_what_nothing_beats() -> None:
    found = front([member(3, 1), member(2, 2), member(2, 1.5), member(4, 1), member(1, 5)])
    assert [(m.cost, m.loss) for m in found] == [(1, 5), (2, 1.5), (3, 1)]


def test_finalists_come_from_all_over_the_front() -> None:
    baseline = member(100, 0.5)
    good = [member(10 * i, 0.5 - i / 100) for i in range(1, 8)]
    bad = [member(1, 0.9), member(200, 0.1), member(30, 0.55)]
    history = History((baseline, *bad, *good), ())
    assert [m.cost for m in finalists(history, 4)] == [10, 30, 50, 70]
    assert [m.cost for m in finalists(history, 2)] == [10, 70]
    # too few that lose no more: the others by their loss, and none that costs more
    few = History((baseline, *bad, good[0]), ())
    assert [m.cost for m in finalists(few, 4)] == [10, 30, 1]
