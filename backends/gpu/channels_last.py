"""Which values lie with their channels last in memory, whatever their shape says.

A convolution's steps run over channels innermost, so its loads are contiguous where channels
lie side by side; so are its stores. What a convolution, a pool or an element-wise kernel hands
to another such kernel is stored so; inputs and outputs of the model, and what a reshape or a
product of matrices reads, stay as they are. Kernels take strides, so a result in one order is
made of operands in another.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from tetrapla.backends.gpu.generated.expressions import EXPRESSIONS
from tetrapla.backends.gpu.groups import Group, Groups
from tetrapla.backends.gpu.steps import layout
from tetrapla.backends.gpu.views import strides_of, turned
from tetrapla.ir.graph import Node

ORDER = (0, 2, 3, 1)
CONVOLUTIONS = ("nn.conv2d", "qnn.conv2d")
POOLS = ("nn.max_pool2d", "nn.average_pool2d", "qnn.average_pool2d")
GLOBAL = ("nn.global_average_pool", "qnn.global_average_pool")


def channels_last(
    groups: Sequence[Group],
    folded: Mapping[int, Node],
    found: Groups,
    reads: Collection[str] = (),
) -> dict[int, tuple[int, ...]]:
    """By index of a value, its axes from the outermost in memory to the innermost.

    Args:
        groups: the kernels, in order.
        folded: what is computed where it is read.
        found: the graph and who reads what.
        reads: names of products that read by strides of their own.
    """
    nodes = found.graph.nodes
    viewed = {
        found.root(node.result).index
        for node in nodes
        if found.root(node.result).index != node.result.index
    }
    held: dict[int, Group] = {}
    for group in groups:
        free = group.stored.index not in viewed | found.kept
        if free and _may(group) and (_starts(group) or _reads(group, folded, found, held)):
            held[group.stored.index] = group
    pools = {group.head.name: group for group in groups if group.head.kind in POOLS}

    def agrees(index: int, group: Group) -> bool:
        # a pool stores as it reads
        pooled = group.head.kind in POOLS and group.head.operands[0].index not in held
        users = found.readers.get(index, [])
        takes = all(_takes(n, index, pools, held) and n.name not in reads for n in users)
        return takes and not pooled

    while wrong := [index for index, group in held.items() if not agrees(index, group)]:
        for index in wrong:
            del held[index]
    return dict.fromkeys(held, ORDER)


def _may(group: Group) -> bool:
    """Whether the kernel can store so, and whether it makes a difference."""
    value, head = group.stored, group.head
    if len(value.shape) != 4:
        return False
    _, channels, height, width = value.shape
    if group.turns:  # the product's columns become channels
        lying = strides_of(value.shape, ORDER)
        fits = turned(value, group.turns, head.result.shape, lying) is not None
        return fits and head.result.shape[-1] == channels > 1 and height * width > 1
    if value.shape != head.result.shape or group.place is not None:
        return False
    plain = all(layout(node) in (None, (channels, height * width)) for node in group.steps)
    known = head.kind in (*CONVOLUTIONS, *POOLS, *EXPRESSIONS)
    return known and plain and channels > 1 and height * width > 1


def _starts(group: Group) -> bool:
    return group.head.kind in CONVOLUTIONS


def _reads(
    group: Group, folded: Mapping[int, Node], found: Groups, held: Mapping[int, Group]
) -> bool:
    """Whether any operand of the kernel lies so."""
    waiting = [v for node in (group.head, *group.members) for v in node.operands]
    while waiting:
        index = found.root(waiting.pop()).index
        if index in held:
            return True
        if index in folded:
            waiting += folded[index].operands
    return False


def _takes(
    node: Node, index: int, pools: Mapping[str, Group], held: Mapping[int, Group]
) -> bool:
    """Whether a node reads a value that lies so."""
    first = node.operands[0].index == index
    if node.kind in CONVOLUTIONS:
        return first and index not in [v.index for v in node.operands[1:]]
    if node.kind in POOLS:
        return pools[node.name].stored.index in held
    return node.kind in GLOBAL or node.kind in EXPRESSIONS
