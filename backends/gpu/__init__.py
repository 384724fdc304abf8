"""The GPU's compiler: fused kernels as a plan, and their Triton source."""

from tetrapla.backends.gpu.bounds.verdict import cross_check
from tetrapla.backends.gpu.check import second_check
from tetrapla.backends.gpu.cuda.emitted import emitted
from tetrapla.backends.gpu.lower import lower
from tetrapla.backends.gpu.machine_code import ARCHITECTURES, ahead
from tetrapla.backends.gpu.triton.source import sources
from tetrapla.backends.target_ import Target
from tetrapla.passes.pipeline_ import FOLLOWING
from tetrapla.simulators.gpu.machine import least_cycles, run
from tetrapla.simulators.gpu.recorded import recorded
from tetrapla.simulators.gpu.spec import GpuSpec

TARGET = Target(
    family="gpu",
    spec_type=GpuSpec,
    default_chip="h100",
    lower=lower,
    schemes=FOLLOWING,
    run=run,
    cross_check=cross_check,
    stochastic=lambda spec, options: False,
    least_cycles=least_cycles,
    sources=sources,
    forms={"cuda-c": emitted},
    second_check=second_check,
    ahead=ahead,
    architectures=ARCHITECTURES,
    recorded=recorded,
)

__all__ = ["TARGET"]
