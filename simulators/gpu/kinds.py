"""Every kind of kernel that a plan may have, by the name of its class."""

from __future__ import annotations

from tetrapla.simulators.gpu import kernels
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import Kernel
from tetrapla.simulators.gpu.recurrent import Recurrent

KERNELS: dict[str, type[Kernel]] = {
    **kernels.KERNELS,
    **{kind.__name__: kind for kind in (FusedAttention, Recurrent)},
}
