"""Layers for which SCALE-Sim's memory model surely adds no stall.

Under ``InterfaceBandwidth: USER`` SCALE-Sim 3.0.0 looks every address up in a scratchpad of a
hundred sets, the half of which is active. Where all the sets that an operand's prefetch order
fills are in the active half from the start, every look-up hits; where all writes together are
fewer than the OFMAP scratchpad's words, no write waits for a drain. Then a layer does not
stall, whatever the bandwidth. Elsewhere stalls depend on the order of the addresses, which has
no closed form.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from tetrapla.simulators.systolic.scalesim.closed_form import Counts, Folded, Layers

_SETS = 100  # of a scratchpad: read_buffer.py, prepare_hashed_buffer


def stall_free(
    layers: Layers, found: Folded, ifmap_words: int, filter_words: int, ofmap_words: int
) -> NDArray[np.bool_]:
    """Whether each layer stalls on no operand.

    Args:
        layers: the layers.
        found: what `folded` counted of them.
        ifmap_words: size of the IFMAP scratchpad; a word is a byte.
        filter_words: of the FILTER scratchpad.
        ofmap_words: of the OFMAP scratchpad.
    """
    held = layers.compressed()
    writes: Counts = found.ofmap_writes // layers.count
    free: NDArray[np.bool_] = (
        _is_resident(held.m * held.k, ifmap_words)
        & _is_resident(held.k * held.n, filter_words)
        & (writes < ofmap_words)
    )
    return free


def _is_resident(words: Counts, size: int) -> NDArray[np.bool_]:
    a_set = -(-size // _SETS)
    active = -(-(size - size // 2) // a_set)
    resident: NDArray[np.bool_] = words // a_set + 1 <= active
    return resident
