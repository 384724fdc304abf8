"""Attention in a plan: which buffers it reads and writes by which strides.

    before   q = nn.transpose(nn.reshape(a))        after   y = nn.attention(a, b, c)
             k = nn.concat(past, ...b)                      a, b, c: strides of their own;
             y = nn.transpose(nn.attention(q, k, v))        past and b: two segments of keys

What only moves elements before an attention (transposes, reshapes, slices, repeats, a cache
and what is new behind it) costs nothing: the kernel reads through it, and writes through a
transpose that follows. Such a node has no kernel of its own unless something else reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tetrapla.backends.gpu.heads import OPERANDS
from tetrapla.backends.gpu.plan import ATTENTION, Plan
from tetrapla.backends.gpu.tiles import power_of_two
from tetrapla.backends.gpu.views import MOVES, View, repeated, view_of, written
from tetrapla.ir.graph import DTYPES, Graph, Node, Value
from tetrapla.simulators.gpu.fused_attention import FusedAttention
from tetrapla.simulators.gpu.kernels import Kernel
from tetrapla.simulators.gpu.spec import GpuSpec

# keys and values that lie one behind another in a chain of concatenations, at most
MOST_SEGMENTS = 4
# elements of a tile of queries or keys (rows times columns), and its rows, at most; assumed: a
# program's accumulators stay in registers, and the tiles of keys and values in flight fit the
# shared memory of most chips (`fitting`). fp32 runs on the CUDA cores, where large tiles spill
LARGEST = {
    **dict.fromkeys(("f16", "bf16"), (128 * 128, 128, 64 * 128, 64)),
    "tf32": (64 * 128, 64, 32 * 128, 32),
    "f32": (32 * 64, 32, 32 * 64, 32),
}
EXCHANGED_BYTES = 4096  # between the warps of an instance, at most: seen for 128 queries
LEAST = 16  # the least extent that the tensor core's instruction takes


@dataclass(frozen=True)
class Reads:
    """What one attention reads and writes.

    Attributes:
        q, y: the queries and the result.
        keys, values: by segment.
        mask: laid against the scores, where there is one.
    """

    q: View
    y: View
    keys: tuple[View, ...]
    values: tuple[View, ...]
    mask: View | None

    @property
    def views(self) -> tuple[View, ...]:
        """In the kernel's order."""
        pairs = zip(self.keys, self.values, strict=True)
        both = [view for pair in pairs for view in pair]
        return (self.q, self.y, *both, *(() if self.mask is None else (self.mask,)))


def gathered(graph: Graph) -> tuple[Graph, dict[str, Reads]]:
    """The graph whose attentions read what is stored, and by name what they read.

    The moves that nothing else reads are gone.
    """
    found: dict[str, Reads] = {}
    if not any(node.kind == ATTENTION for node in graph.nodes):
        return graph, found
    makers = {value.index: node for node in graph.nodes for value in node.results}
    uses, kept = graph.uses(), {value.index for _, value in graph.outputs}
    nodes: list[Node] = []
    behind: set[str] = set()
    for node in graph.nodes:
        if node.name in behind:
            continue
        if node.kind == ATTENTION and all(v.elements for v in (*node.operands, node.result)):
            y, moves = written(node, uses, kept)
            behind |= moves
            reads = _reads(node, makers, y)
            found[node.name] = reads
            operands = tuple(view.value for view in reads.views if view is not y)
            node = replace(node, operands=operands, results=(y.value,))
        nodes.append(node)
    return replace(graph, nodes=_needed(nodes, kept)), found


def attention(node: Node, reads: Reads, plan: Plan) -> FusedAttention:
    """The kernel of an attention whose operands are what it reads."""
    operand = OPERANDS[plan.number_format]
    *lead, heads, rows, columns = reads.q.shape
    value_columns = reads.y.shape[-1]
    segments = tuple(view.shape[-2] for view in reads.keys)
    last_key = node.int("causal_offset") if node.int("causal") else None
    if last_key is not None and last_key >= sum(segments) - 1:
        last_key = None
    long = [axis for axis, size in enumerate((*lead, 0, 0, 0)) if size != 1]
    strides = [view.strides[axis] for view in reads.views for axis in long]
    buffers = ["" if view is reads.y else plan.load(view.value) for view in reads.views]
    tile_rows, tile_keys = tiles(rows, max(segments), max(columns, value_columns), operand)
    return FusedAttention(
        name=node.name,
        op=node.kind,
        output="",
        steps=(),
        channels=1,
        inner=1,
        operand=operand,
        buffers=tuple(buffers),
        offsets=tuple(view.offset for view in reads.views),
        strides=tuple(strides),
        lead=tuple(size for size in lead if size != 1),
        heads=heads,
        key_heads=reads.keys[0].shape[-3],
        rows=rows,
        columns=columns,
        value_columns=value_columns,
        segments=segments,
        masked=reads.mask is not None,
        scale=float(np.float32(node.float("scale"))),
        last_key=last_key,
        masked_rows=node.str("masked_rows"),
        tile_rows=tile_rows,
        tile_keys=tile_keys,
    )


def tiles(rows: int, keys: int, columns: int, operand: str) -> tuple[int, int]:
    """Queries and keys of a program instance: powers of two within the format's limits.

    They do not depend on the chip, so neither does a float's rounding.
    """
    most_q, most_rows, most_k, most_keys = LARGEST[operand]
    wide = max(LEAST, power_of_two(columns))
    return (
        min(most_rows, max(LEAST, min(power_of_two(rows), most_q // wide))),
        min(most_keys, max(LEAST, min(power_of_two(keys), most_k // wide))),
    )


def fitting(kernel: Kernel, spec: GpuSpec) -> Kernel:
    """An attention with as many queries in a tile as the chip has shared memory for.

    No value depends on that. Another kernel is as it was.
    """
    if not isinstance(kernel, FusedAttention):
        return kernel
    wide = max(LEAST, power_of_two(max(kernel.columns, kernel.value_columns)))
    row_bytes = wide * DTYPES[kernel.operand if kernel.operand in DTYPES else "f32"].itemsize
    # as Triton 3.9 compiles it: of keys and of values two tiles, three from Hopper on
    tiles_held = 2 * (3 if spec.architecture in ("sm_90", "sm_100") else 2) * kernel.tile_keys
    rows = kernel.tile_rows
    room = spec.block.shared_memory_bytes - EXCHANGED_BYTES
    while rows > LEAST and (rows + tiles_held) * row_bytes > room:
        rows //= 2
    return replace(kernel, tile_rows=rows)


def _reads(node: Node, makers: Mapping[int, Node], y: View) -> Reads:
    q, k, v = node.operands[:3]
    keys, values = _segments(k, makers), _segments(v, makers)
    counts = [[each.shape[-2] for each in some] for some in (keys, values)]
    if counts[0] != counts[1] or len(keys) > MOST_SEGMENTS:
        keys, values = (k,), (v,)
    mask = None
    if len(node.operands) > 3:
        mask = repeated(view_of(node.operands[3], makers), (*q.shape[:-1], k.shape[-2]))
    return Reads(
        view_of(q, makers),
        y,
        tuple(view_of(each, makers) for each in keys),
        tuple(view_of(each, makers) for each in values),
        mask,
    )


def _segments(value: Value, makers: Mapping[int, Node]) -> tuple[Value, ...]:
    """What is concatenated along the keys."""
    node = makers.get(value.index)
    rank = len(value.shape)
    if node is None or node.kind != "nn.concat" or node.int("axis") % rank != rank - 2:
        return (value,)
    parts = [part for part in node.operands if part.elements]
    return tuple(each for part in parts for each in _segments(part, makers))


def _needed(nodes: Sequence[Node], kept: set[int]) -> tuple[Node, ...]:
    """The nodes without the moves that nothing reads."""
    read, found = set(kept), list[Node]()
    for node in reversed(nodes):
        if node.kind not in (*MOVES, "nn.concat") or any(
            value.index in read for value in node.results
        ):
            found.append(node)
            read |= {value.index for value in node.operands}
    return tuple(reversed(found))
