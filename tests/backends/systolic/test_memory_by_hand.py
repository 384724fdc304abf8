"""One convolution in strips, instruction by instruction."""

from __future__ import annotations

from collections import Counter
from itertools import groupby

import numpy as np
import pytest

from tests.backends.systolic.conftest import Net, check, chip
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.ir.errors import UnsupportedError
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.tables import Descriptor

# x is 6 rows of 64 pixels of 2 channels, 128 bytes a row; a kernel of 2 x 1 makes 5 rows, as
# large, with 2 filters. The whole, 768 + 640 bytes, does not fit in 768. Strips of one row read
# two: with two places of each, 2 x 256 + 2 x 128 are just there. On a 4 x 1 array a strip takes
# two tiles, one for each filter; the weight memory has room for both.
ROW = 128


def strips() -> list[Instruction]:
    rng = np.random.default_rng(0)
    net = Net(rng, (1, 2, 6, 64))
    module = net.finish(net.conv(net.x, 2, (2, 1), "a"))
    settings = ("memories.unified_buffer=768 B", "dram.bandwidth=700 MB/s")
    spec = chip(4, 1, 128, 2, *settings)
    _, program = check(module, spec, net.inputs())
    assert program.unified_buffer_bytes == 768
    return list(program.instructions)


def test_strips_take_turns_in_two_places() -> None:
    steps = strips()
    loads = [i for i in steps if i.op == "LDA"]
    first = loads[0]["dram"]  # the host's input
    # each strip begins one row on, so that the halo is read again
    assert [(i["dram"] - first, i["ub"], i["bytes"], i["host"]) for i in loads] == [
        (n * ROW, n % 2 * 2 * ROW, 2 * ROW, 1) for n in range(5)
    ]
    stores = [i for i in steps if i.op == "ST"]
    first = stores[0]["dram"]
    assert [(i["dram"] - first, i["ub"], i["bytes"], i["host"]) for i in stores] == [
        (n * ROW, 512 + n % 2 * ROW, ROW, 1) for n in range(5)
    ]
    # two results a pixel, each filter's column by itself: every byte of each strip once
    written = [i["ub"] + 2 * row for i in steps if i.op == "RQ" for row in range(i["len"])]
    assert Counter(written) == Counter(
        512 + n % 2 * ROW + byte for n in range(5) for byte in range(ROW)
    )
    fed = [i["desc"] for i in steps if i.op == "MM" for _ in range(i["len"])]
    assert fed == [n for n in range(5) for _ in range(2 * 64)]


def test_each_strip_has_its_descriptor_and_the_weights_are_loaded_once() -> None:
    rng = np.random.default_rng(0)
    net = Net(rng, (1, 2, 6, 64))
    module = net.finish(net.conv(net.x, 2, (2, 1), "a"))
    settings = ("memories.unified_buffer=768 B", "dram.bandwidth=700 MB/s")
    program = compile_graph(module.graph, chip(4, 1, 128, 2, *settings), "m")
    filled = [i for i in program.instructions if i.op == "CFG" and i["kind"] == 0]
    found = [
        Descriptor.unpack(program.constants[i["dram"] : i["dram"] + i["bytes"]]) for i in filled
    ]
    assert [(d.base, d.height, d.out_h, d.pad_top) for d in found] == [
        (n % 2 * 2 * ROW, 2, 1, 0) for n in range(5)
    ]
    tiles = [(i["slot"], i["rows"], i["cols"]) for i in program.instructions if i.op == "LDW"]
    assert tiles == [(0, 4, 1), (1, 4, 1)]


def test_the_next_strip_is_loaded_and_the_one_before_stored_beside_the_work() -> None:
    order = [
        (i.op, i["ub"]) if i.op in ("LDA", "ST") else (i.op, i["desc"])
        for i in strips()
        if i.op in ("LDA", "ST", "MM", "MARK")
    ]
    beside = [item for item, _ in groupby(order)]
    assert beside == [
        *(("MARK", 0), ("LDA", 0), ("MARK", 0)),
        # DMA takes longer than the work here (a byte a cycle, 256 + 128 for 128 rows), so that
        # a load goes before the work that it is beside
        *(("LDA", 256), ("MM", 0)),
        *(("LDA", 0), ("MM", 1), ("ST", 512), ("MM", 1)),
        *(("LDA", 256), ("MM", 2), ("ST", 640), ("MM", 2)),
        *(("LDA", 0), ("MM", 3), ("ST", 512), ("MM", 3)),
        *(("MM", 4), ("ST", 640), ("MM", 4)),
        *(("MARK", 0), ("ST", 512)),
    ]


def refusal(net: Net, module_bytes: str) -> str:
    with pytest.raises(UnsupportedError) as refused:
        compile_graph(net.finish().graph, chip(8, 8, 64, 4, module_bytes), "m")
    return str(refused.value)


def test_a_row_that_does_not_fit_is_refused_with_what_would() -> None:
    net = Net(np.random.default_rng(0), (1, 3, 8, 10))
    wide = net.conv(net.x, 5, (3, 3), "wide", pads=(1, 1, 1, 1))
    net.builder.output("y", net.conv(wide, 2, (1, 1), "narrow"))
    # a row of 'wide', 50 bytes, reads three of x, 90 bytes: places of 64 and 96 bytes
    assert refusal(net, "memories.unified_buffer=159 B") == (
        "systolic: the unified buffer must hold one row of the result of layer 'wide' with "
        "what it reads, 160 bytes, not 159, 1 too few; "
        "set memories.unified_buffer to at least 160 B"
    )


def test_the_size_that_a_refusal_names_is_enough() -> None:
    net = Net(np.random.default_rng(0), (1, 3, 8, 10))
    wide = net.conv(net.x, 5, (3, 3), "wide", pads=(1, 1, 1, 1))
    module = net.finish(net.conv(wide, 2, (1, 1), "narrow"))
    spec = chip(8, 8, 64, 4, "memories.unified_buffer=160 B")
    check(module, spec, net.inputs())
