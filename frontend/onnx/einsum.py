"""Einsum as transposes and matrix products, one pair of operands after the other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

from tetrapla.frontend.onnx.moves import cut
from tetrapla.frontend.onnx.node import OnnxNode, Operand, Refusal, Scope
from tetrapla.frontend.onnx.shapes import transposed
from tetrapla.frontend.onnx.table import translates
from tetrapla.ir.errors import ModelError

# letters for the axes of an ellipsis, counted from the end
_ELLIPSIS = "0123456789"


@dataclass(frozen=True)
class _Term:
    """A value and the letter of each of its axes."""

    value: Operand
    letters: str

    def sizes(self) -> dict[str, int]:
        return dict(zip(self.letters, self.value.shape, strict=True))


@translates("Einsum")
def _einsum(node: OnnxNode, scope: Scope) -> Operand:
    operands = [node.operand(index) for index in range(len(node.operands))]
    inputs, output = _parsed(node.str("equation", ""), operands)
    terms = [
        _diagonal(_Term(value, letters), scope, f"{node.label}_{index}")
        for index, (value, letters) in enumerate(zip(operands, inputs, strict=True))
    ]
    total = terms[0]
    for index, term in enumerate(terms[1:], 1):
        later = output + "".join(other.letters for other in terms[index + 1 :])
        total = _product(total, term, later, scope, f"{node.label}_product_{index}")
    total = _summed(total, output, scope, node.label)
    perm = tuple(total.letters.index(letter) for letter in output)
    return transposed(total.value, perm, scope, f"{node.label}_order")


def _parsed(equation: str, operands: Sequence[Operand]) -> tuple[list[str], str]:
    """The letters of every operand and of the result; an ellipsis is spelled out.

    Raises:
        ModelError: the equation does not fit the operands.
    """
    text = equation.replace(" ", "")
    left, arrow, right = text.partition("->")
    inputs = left.split(",")
    if len(inputs) != len(operands) or len(text) > 200:
        raise ModelError(f"equation must name {len(operands)} operands, not {equation[:64]!r}")
    wide = ""
    for index, (letters, value) in enumerate(zip(inputs, operands, strict=True)):
        if "..." in letters:
            count = len(value.shape) - len(letters) + 3
            if not 0 <= count <= len(_ELLIPSIS):
                raise ModelError(f"equation does not fit shape {list(value.shape)}")
            spelled = _ELLIPSIS[:count][::-1]
            wide = max(wide, spelled, key=len)
            inputs[index] = letters.replace("...", spelled)
        if len(inputs[index]) != len(value.shape):
            raise ModelError(f"equation does not fit shape {list(value.shape)}")
    if not arrow:
        counts = "".join(inputs)
        kept = sorted({c for c in counts if counts.count(c) == 1 and c not in _ELLIPSIS})
        right = "..." + "".join(kept)
    output = right.replace("...", wide)
    letters = "".join(inputs)
    odd = [c for c in letters + output if not ((c.isascii() and c.isalpha()) or c in wide)]
    if odd or len(set(output)) != len(output) or not set(output) <= set(letters):
        raise ModelError(f"equation must name axes by letters, not {equation[:64]!r}")
    return inputs, output


def _diagonal(term: _Term, scope: Scope, name: str) -> _Term:
    """A letter that stands twice in one operand walks along the diagonal."""
    value, letters = term.value, term.letters
    for letter in dict.fromkeys(letters):
        if letters.count(letter) == 1:
            continue
        if letters.count(letter) > 2:
            raise Refusal("only with a letter at most twice in an operand")
        places = [axis for axis, found in enumerate(letters) if found == letter]
        size = value.shape[places[0]]
        if value.shape[places[1]] != size:
            raise ModelError(f"axes named '{letter}' must be of one size")
        rest = tuple(axis for axis in range(len(letters)) if axis not in places)
        shape = tuple(value.shape[axis] for axis in rest)
        value = transposed(value, (*rest, *places), scope, f"{name}_{letter}_order")
        value = scope.reshape(value, (*shape, size * size), f"{name}_{letter}_flatten")
        zeros, ones = [0] * len(rest), [1] * len(rest)
        sizes, steps = [*shape, size], [*ones, size + 1]
        value = cut(value, [*zeros, 0], sizes, scope, f"{name}_{letter}_diagonal", steps)
        letters = "".join(letters[axis] for axis in rest) + letter
    return _Term(value, letters)


def _summed(term: _Term, kept: str, scope: Scope, name: str) -> _Term:
    """The sum over the letters that nothing reads later."""
    axes = tuple(axis for axis, letter in enumerate(term.letters) if letter not in kept)
    if not axes:
        return term
    value = scope.reduce("nn.reduce_sum", term.value, axes, f"{name}_sum", keepdims=0)
    return _Term(value, "".join(letter for letter in term.letters if letter in kept))


def _product(a: _Term, b: _Term, later: str, scope: Scope, name: str) -> _Term:
    """One batched matrix product: batch letters, then what each has alone."""
    a = _summed(a, later + b.letters, scope, f"{name}_a")
    b = _summed(b, later + a.letters, scope, f"{name}_b")
    sizes = b.sizes()
    for letter, size in a.sizes().items():
        if letter in sizes and 1 not in (size, sizes[letter]) and size != sizes[letter]:
            raise ModelError(f"axes named '{letter}' must be of one size")
    shared = [letter for letter in a.letters if letter in b.letters]
    summed = "".join(letter for letter in shared if letter not in later)
    batch = "".join(letter for letter in shared if letter in later)
    rows = "".join(letter for letter in a.letters if letter not in b.letters)
    columns = "".join(letter for letter in b.letters if letter not in a.letters)
    if any(a.sizes()[letter] != sizes[letter] for letter in summed + batch):
        raise Refusal("only without broadcasting under a letter")
    left = _matrix(a, batch, rows, summed, scope, f"{name}_a")
    right = _matrix(b, batch, summed, columns, scope, f"{name}_b")
    product = scope.op("nn.matmul", [left, right], {"activation": "none"}, name)
    every = {**a.sizes(), **sizes}
    letters = batch + rows + columns
    shape = [every[letter] for letter in letters]
    return _Term(scope.reshape(product, shape, f"{name}_shape"), letters)


def _matrix(
    term: _Term, batch: str, rows: str, columns: str, scope: Scope, name: str
) -> Operand:
    """The term under the shape (batch..., rows, columns)."""
    sizes = term.sizes()
    perm = tuple(term.letters.index(letter) for letter in batch + rows + columns)
    ordered = transposed(term.value, perm, scope, f"{name}_order")
    shape = (
        *(sizes[letter] for letter in batch),
        prod(sizes[letter] for letter in rows),
        prod(sizes[letter] for letter in columns),
    )
    return scope.reshape(ordered, shape, f"{name}_matrix")
