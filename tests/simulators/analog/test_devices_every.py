"""Every device: a source, a range, exact at magnitude zero, moments that sampling confirms."""

from __future__ import annotations

import re
from math import exp, inf, nan, sqrt
from pathlib import Path

import numpy as np
import pytest

from tetrapla.ir.errors import SpecError
from tetrapla.ir.graph import Array
from tetrapla.simulators.analog.devices import DEVICES, Device, Draws
from tetrapla.simulators.analog.devices.cells import draws, state
from tetrapla.simulators.random_ import Key

EVERY = pytest.mark.parametrize("device", DEVICES.values(), ids=list(DEVICES))
DRIFTING = [device for device in DEVICES.values() if device.drifts]
SHARES = (0.0, 0.01, 0.1, 0.3, 0.62, 1.0)
CELLS = 100_000


def g_max(device: Device) -> float:
    """The top of its range once time passes, siemens."""
    highest = device.drifted_usiemens or device.highest_usiemens or 25.0
    return highest * 1e-6


def targets(device: Device) -> Array:
    """Over the whole range, siemens."""
    low = (device.lowest_usiemens or 0.0) * 1e-6
    return low + np.array(SHARES) * (g_max(device) - low)


def times(device: Device) -> tuple[float | None, ...]:
    """Some that the device is known at."""
    if not device.drifts:
        return (None,)
    last = min(device.last_s, 3.15e7)
    return (None, max(device.first_s, last / 40), last)


def drawn(device: Device, shape: tuple[int, ...], seed: int = 1) -> Draws:
    return draws(device, Key(seed, layer=2, tile=3), shape)


@EVERY
def test_the_source_is_a_work_of_a_year_a_tool_of_a_version_or_said_to_be_assumed(
    device: Device,
) -> None:
    assert re.search(r"\b(19|20)\d\d\b|\d\.\d|assumed|no device", device.source), device.source


@EVERY
def test_magnitudes_of_zero_give_back_every_target_bit_by_bit(device: Device) -> None:
    still = device.scaled(programming=0, drift=0, read=0)
    goal = np.repeat(targets(device)[:, None], 100, axis=1)
    assert still.exact
    assert still.silent
    assert not still.drifts
    for t_s in times(device):
        found = state(still, goal, g_max(device), t_s, Key(7))
        assert np.array_equal(found.held, goal)
        assert found.read_sigma is None
        moments = still.central_moments(goal, g_max(device), t_s)
        assert np.array_equal(moments.mean, goal)
        assert not moments.variance.any()
        assert not moments.tail.any()


@EVERY
def test_each_magnitude_alone_at_zero_switches_its_effect_off(device: Device) -> None:
    goal, top = targets(device), g_max(device)
    given = drawn(device, goal.shape)
    landed = device.scaled(programming=0).programmed(goal, top, given.programming)
    assert np.array_equal(landed, goal)
    late = times(device)[-1]
    undrifted = device.scaled(drift=0).held(goal, top, late, given)
    assert np.array_equal(undrifted, device.programmed(goal, top, given.programming))
    quiet = device.scaled(read=0)
    assert quiet.silent
    assert not quiet.read_sigma(goal, goal, top, late).any()


@EVERY
def test_what_is_called_exact_is_and_the_others_are_not(device: Device) -> None:
    goal = targets(device)
    held = device.held(goal, g_max(device), None, drawn(device, goal.shape))
    assert device.exact == np.array_equal(held, goal)


@EVERY
def test_moments_are_those_of_sampling(device: Device) -> None:
    goal = np.repeat(targets(device)[:, None], CELLS, axis=1)
    given = drawn(device, goal.shape)
    for t_s in times(device):
        held = device.held(goal, g_max(device), t_s, given)
        assert held.min() >= 0
        moments = device.central_moments(goal[:, 0], g_max(device), t_s)
        mean, variance = device.moments(goal[:, 0], g_max(device), t_s)
        assert np.array_equal(mean, moments.mean)
        assert np.array_equal(variance, moments.variance)
        error = held - mean[:, None]
        # an exact cell's mean is its target but for the rounding of adding them up
        rounding = 1e-12 * g_max(device)
        of_mean = 4 * np.sqrt(variance / CELLS) + rounding
        of_variance = 4 * np.sqrt(np.maximum(moments.fourth - variance**2, 0) / CELLS)
        assert (np.abs(error.mean(axis=1)) <= of_mean).all()
        assert (np.abs((error**2).mean(axis=1) - variance) <= of_variance + rounding**2).all()
        # the fourth moment's own standard error is taken from the sample
        of_fourth = 4 * (error**4).std(axis=1) / sqrt(CELLS)
        assert (
            np.abs((error**4).mean(axis=1) - moments.fourth) <= of_fourth + rounding**4
        ).all()


@EVERY
def test_tails_are_no_heavier_than_said(device: Device) -> None:
    goal = np.repeat(targets(device)[:, None], CELLS, axis=1)
    for t_s in times(device):
        held = device.held(goal, g_max(device), t_s, drawn(device, goal.shape, seed=2))
        moments = device.central_moments(goal[:, 0], g_max(device), t_s)
        farther = np.abs(held - moments.mean[:, None])
        for z in (1.5, 2.5, 3.5):
            bound = 2 * exp(-z * z / 2)
            share = (farther > z * moments.tail[:, None] + 1e-18).mean(axis=1)
            assert (share <= bound + 4 * sqrt(bound / CELLS)).all()


@EVERY
def test_nothing_that_is_given_is_written_to(device: Device) -> None:
    goal = targets(device)
    given = drawn(device, goal.shape)
    for array in (goal, given.programming, given.drift):
        array.setflags(write=False)
    late = times(device)[-1]
    held = device.held(goal, g_max(device), late, given)
    held.setflags(write=False)
    device.read_sigma(held, held, g_max(device), late)
    device.central_moments(goal, g_max(device), late)


@EVERY
def test_read_noise_is_never_negative_and_grows_with_its_magnitude(device: Device) -> None:
    goal, top, late = targets(device), g_max(device), times(device)[-1]
    once = device.scaled(read=0.5).read_sigma(goal, goal, top, late)
    assert (once >= 0).all()
    twice = device.scaled(read=1.0).read_sigma(goal, goal, top, late)
    assert np.allclose(twice, 2 * once, rtol=1e-15, atol=0)
    if not device.silent:
        assert twice[-1] > 0


@EVERY
@pytest.mark.parametrize("t_s", [-1.0, -1e-30, nan, inf])
def test_no_time_before_programming_is_taken(device: Device, t_s: float) -> None:
    with pytest.raises(SpecError) as error:
        device.held(targets(device), g_max(device), t_s, drawn(device, (len(SHARES),)))
    assert str(error.value) == (
        f"t_s must be a time after programming, in seconds from 0 up, not {t_s:g}; "
        "drift has no meaning before it"
    )
    with pytest.raises(SpecError):
        device.read_sigma(targets(device), targets(device), g_max(device), t_s)
    with pytest.raises(SpecError):
        device.moments(targets(device), g_max(device), t_s)


@EVERY
def test_a_time_that_nobody_measured_is_refused(device: Device) -> None:
    if device.times_s is None:
        assert device.seconds(3600.0) == 3600.0
        return
    with pytest.raises(SpecError) as error:
        device.seconds(3600.0)
    assert str(error.value) == (
        f"{device.name} is known at {device.times_s[0]:g} s after programming, not at 3600 s; "
        "leave t_s out or choose a device with a model of drift"
    )
    assert device.seconds(None) == device.times_s[0]


@EVERY
def test_conductances_outside_of_the_fit_are_refused(device: Device) -> None:
    low = (device.lowest_usiemens or 0.0) * 1e-6
    device.check(low, g_max(device))
    if device.highest_usiemens is not None:
        with pytest.raises(SpecError) as error:
            device.check(low, device.highest_usiemens * 1.01e-6)
        assert str(error.value) == (
            f"a conductance of {device.name} must be at most {device.highest_usiemens:g} uS, "
            f"where it was fitted, not {device.highest_usiemens * 1.01:g} uS; lower g_max or "
            "choose another device"
        )
    with pytest.raises(SpecError) as error:
        device.check(low * 0.5 - 1e-7, g_max(device))
    assert str(error.value) == (
        f"a conductance of {device.name} must be at least {low * 1e6:g} uS, where it was "
        f"fitted, not {low * 0.5e6 - 0.1:g} uS; raise g_min or choose another device"
    )


@EVERY
@pytest.mark.parametrize("factor", ["programming", "drift", "read"])
@pytest.mark.parametrize("value", [-0.1, nan, inf])
def test_a_magnitude_must_be_finite_and_positive(
    device: Device, factor: str, value: float
) -> None:
    with pytest.raises(SpecError) as error:
        device.scaled(**{factor: value})
    assert str(error.value) == (
        f"{device.name}: the factor {factor} must be a finite number from 0 up, not {value}; "
        "0 switches the effect off"
    )


@pytest.mark.parametrize("device", DRIFTING, ids=[device.name for device in DRIFTING])
def test_drift_has_a_direction(device: Device) -> None:
    """PCM cells only fall; a write-verified cell falls on average; SONOS spreads."""
    goal, top = targets(device)[2:], g_max(device)
    when = [
        max(device.first_s, device.last_s * f if device.last_s < inf else f * 3e7)
        for f in (0.001, 0.01, 0.1, 0.2, 0.5, 1.0)
    ]
    found = [device.moments(goal, top, t_s) for t_s in when]
    if device.flickers:
        means = np.array([mean for mean, _ in found])
        assert (np.diff(means, axis=0) < 0).all()
    else:
        spreads = np.array([variance for _, variance in found])
        assert (np.diff(spreads, axis=0) > 0).all()


def test_every_device_is_found_by_the_name_that_it_has() -> None:
    assert all(name == device.name for name, device in DEVICES.items())
    assert len(DEVICES) >= 21


def test_the_document_lists_every_device() -> None:
    document = Path(__file__).parents[3] / "docs" / "devices.md"
    table = [
        line for line in document.read_text("utf-8").splitlines() if line.startswith("| `")
    ]
    listed = [name for line in table for name in re.findall(r"`(\w+)`", line.split("|")[1])]
    assert sorted(listed) == sorted(DEVICES)
