"""What a float module becomes before it is planned for a GPU.

As `pipeline_.FLAT`, but that attention is put together and not taken apart: it is one kernel.
"""

from __future__ import annotations

from collections.abc import Iterator

from tetrapla.backends.gpu.plan import ATTENTION
from tetrapla.backends.gpu.recurrent import LastStates, UnrollOthers
from tetrapla.passes.decompose_attention import DecomposeAttention
from tetrapla.passes.fuse_siblings import FuseSiblings
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.pipeline_ import FLAT
from tetrapla.passes.recognize_attention import RecognizeAttention
from tetrapla.passes.slice_gathers import SliceGathers
from tetrapla.passes.unroll_recurrence import UnrollRecurrence


def _passes() -> Iterator[Pass]:
    for each in FLAT:
        if isinstance(each, DecomposeAttention):
            # whose slices of one product cost nothing: the kernel reads through them
            yield FuseSiblings(before=ATTENTION)
            continue
        if isinstance(each, UnrollRecurrence):
            yield LastStates()
            yield UnrollOthers()
            continue
        yield each
        if isinstance(each, SliceGathers):  # before a mask is taken for a product's bias
            yield RecognizeAttention()


FLOATS: tuple[Pass, ...] = tuple(_passes())
