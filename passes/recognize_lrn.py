"""A mean of squares over neighbouring channels and its power become one response normalisation.

    before   s = nn.reshape(x * x) {shape = (n, 1, c, h, w)}          after   y = nn.lrn(x)
             m = nn.average_pool3d(nn.pad(s)) {kernel = (5, 1, 1)}
             p = nn.pow(nn.reshape(m) * alpha + bias, beta)
             y = nn.div(x, p)

That is how exporters write PyTorch's local response normalisation, of an odd number of channels
(of an even one, the extra channel is on the other side than in `nn.lrn`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from tetrapla.ir.graph import Attribute, Node, Value
from tetrapla.ir.module import Module
from tetrapla.passes.edit_ import Edit, rewrite
from tetrapla.passes.match_ import BEHIND, REAL, number, square, unscaled, with_number
from tetrapla.passes.pass_ import Pass

# assumed: no network normalises over more channels (AlexNet takes 5)
LARGEST = 63


@dataclass(frozen=True)
class RecognizeLrn(Pass):
    """One rounding instead of one per step.

    With u = 2^-24, for n channels: the squares and their mean are within (n + 2) u, alpha, bias
    and their sum add 3 u (all are positive, so nothing cancels), a power of at most 1 passes
    that on and adds u, the quotient u, the new form u: (n + 8) u of every element, n up to 63.
    That the layers behind amplify it at most by `match_.BEHIND` is assumed.
    """

    max_rel_error: ClassVar[float] = BEHIND * (LARGEST + 8) * 2.0**-24

    def __call__(self, module: Module) -> Module:
        return rewrite(module, _normalised)


def _normalised(edit: Edit, node: Node) -> Value | None:
    if node.kind != "nn.div" or node.result.dtype not in REAL:
        return None
    x, under = node.operands
    power = edit.maker(under, "nn.pow")
    beta = None if power is None else number(edit, power.operands[1])
    add = None if power is None else edit.maker(power.operands[0], "nn.add")
    found = None if add is None else with_number(edit, add)
    if found is None or beta is None:
        return None
    mean, alpha = unscaled(edit, found[0])
    base, size = _mean(edit, mean)
    positive = alpha >= 0 and found[1] > 0 and 0 <= beta <= 1
    if base is None or base.index != x.index or not positive:
        return None
    attributes: dict[str, Attribute] = {"size": size, "alpha": alpha}
    attributes |= {"beta": beta, "bias": found[1]}
    return edit.op("nn.lrn", [x], attributes)


def _mean(edit: Edit, value: Value) -> tuple[Value | None, int]:
    """What the value is the mean of the squares of, over how many channels around."""
    joined = edit.maker(value, "nn.reshape")
    pool = None if joined is None else edit.maker(joined.operands[0], "nn.average_pool3d")
    pad = None if pool is None else edit.maker(pool.operands[0], "nn.pad")
    split = None if pad is None else edit.maker(pad.operands[0], "nn.reshape")
    if pool is None or pad is None or split is None:
        return None, 0
    size = pool.ints("kernel")[0]
    squares = split.operands[0]
    around = size // 2
    shape = (squares.shape[0], 1, *squares.shape[1:])
    fits = split.result.shape == shape and value.shape == squares.shape
    if not (fits and _over_channels(pool, size) and _around(pad, around)) or size > LARGEST:
        return None, 0
    return square(edit, squares), size


def _over_channels(pool: Node, size: int) -> bool:
    plain: dict[str, tuple[int, ...]]
    plain = {"kernel": (size, 1, 1), "strides": (1, 1, 1), "dilations": (1, 1, 1)}
    plain |= {"pads": (0,) * 6, "overhang": (0,) * 3}
    return size % 2 == 1 and all(pool.ints(key) == held for key, held in plain.items())


def _around(pad: Node, around: int) -> bool:
    wanted = (0, 0, around, 0, 0, 0, 0, around, 0, 0)
    zero = pad.str("mode") == "constant" and pad.float("value") == 0.0
    return zero and pad.ints("pads") == wanted
