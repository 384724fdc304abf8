"""What SCALE-Sim 3.0.0's memory model says of a layer, and the scratchpads that it is given."""

from __future__ import annotations

from dataclasses import dataclass, field

ESTIMATED_READS = 10  # words a cycle of the first fetch under CALC: single_layer_sim.py, run


@dataclass(frozen=True)
class Scratchpads:
    """Sizes in words, and words per cycle from and to the DRAM.

    Attributes:
        estimates: whether reads never wait, and the bandwidth that this takes is sought: the
            tool's `InterfaceBandwidth: CALC`.
    """

    ifmap_words: int
    filter_words: int
    ofmap_words: int
    ifmap_bandwidth: int
    filter_bandwidth: int
    ofmap_bandwidth: int
    estimates: bool = field(default=False, kw_only=True)

    @classmethod
    def estimating(
        cls, ifmap_words: int, filter_words: int, ofmap_words: int, cols: int
    ) -> Scratchpads:
        """Those of `InterfaceBandwidth: CALC`: results leave as fast as columns make them."""
        reads = ESTIMATED_READS
        words = (ifmap_words, filter_words, ofmap_words)
        return cls(*words, reads, reads, cols, estimates=True)


@dataclass(frozen=True)
class Transfers:
    """What goes between one scratchpad and the DRAM.

    Attributes:
        words: how many, as the tool counts.
        first: the cycle of the first; what is fetched before the array starts has negative
            ones.
        last: the cycle of the last.
    """

    words: int
    first: int
    last: int

    @property
    def words_per_cycle(self) -> float:
        """The mean from the first to the last."""
        return self.words / (self.last - self.first + 1)


@dataclass(frozen=True)
class Traffic:
    """A layer between its scratchpads and the DRAM.

    Attributes:
        stall_cycles: cycles that lines of the array's demand wait.
        cycles: the tool's `Total Cycles`, the cycle in which the last line's results are in.
        ifmap, filter, ofmap: the transfers of each scratchpad.
    """

    stall_cycles: int
    cycles: int
    ifmap: Transfers
    filter: Transfers
    ofmap: Transfers

    @property
    def cycles_with_prefetch(self) -> int:
        """The tool's `Total Cycles (incl. prefetch)`: first word fetched to last written."""
        return self.ofmap.last - min(self.ifmap.first, self.filter.first)
