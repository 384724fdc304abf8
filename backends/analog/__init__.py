"""The analog family: an int8 model on resistive crossbars with DACs and ADCs."""

from __future__ import annotations

from tetrapla.backends.analog.check import cross_check
from tetrapla.backends.analog.lower import lower
from tetrapla.backends.target_ import Options, Target
from tetrapla.simulators.analog.machine import run
from tetrapla.simulators.analog.spec import AnalogSpec


def _stochastic(spec: AnalogSpec, options: Options) -> bool:
    return spec.device.noisy and not options.ideal


TARGET = Target(
    family="analog",
    spec_type=AnalogSpec,
    default_chip="isaac",
    lower=lower,
    run=run,
    cross_check=cross_check,
    stochastic=_stochastic,
)
