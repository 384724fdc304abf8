"""Patterns as PDL text, which MLIR matches and applies itself.

    pdl.pattern @neg_of_neg : benefit(1) {
      %type = pdl.type
      %x = pdl.operand
      %first = pdl.operation "nn.neg"(%x : !pdl.value) -> (%type : !pdl.type)
      %between = pdl.result 0 of %first
      %second = pdl.operation "nn.neg"(%between : !pdl.value) -> (%type : !pdl.type)
      pdl.rewrite %second { pdl.replace %second with (%x : !pdl.value) }
    }

One constraint is given: ``pdl.apply_native_constraint "filled"(%w, %number : !pdl.value,
!pdl.attribute)`` holds for a weight whose every element is the number (0.0 is not -0.0). An
operation that a pattern makes keeps its layer's name if the pattern hands the attribute
``"layer"`` on, and spells ``"operandSegmentSizes"`` out where an operand may be absent.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

import tetrapla.ir.dialects  # noqa: F401  # pyright: ignore[reportUnusedImport]
from tetrapla.ir.convert import plain
from tetrapla.ir.errors import IRError, nearest
from tetrapla.ir.graph import Array
from tetrapla.ir.mlir import (
    GreedyRewriteConfig,
    InsertionPoint,
    Location,
    MLIRError,
    PDLModule,
    apply_patterns_and_fold_greedily,
    context,
    fingerprint,
)
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.module import Module, first_line
from tetrapla.ir.op import OPS
from tetrapla.ir.text import check_text
from tetrapla.passes.scales_ import parts

WEIGHT = "nn.weight"
FILLED = "filled"
# assumed: rules that match this often for every node of the module come to no end
MATCHES = 100


@dataclass(frozen=True)
class Rules:
    """PDL text that was read and checked.

    Attributes:
        text: as it was given.
        needed: of each pattern, the operators that a module must have for it to match.
    """

    text: str
    needed: tuple[frozenset[str], ...]


def rules(text: str) -> Rules:
    """Read PDL text.

    Raises:
        IRError: it is not PDL, holds something else than patterns, or names an operator or a
            function that is not there.
    """
    check_text(text)
    with context(), Location.unknown():
        parsed = _parsed(text)
        needed: list[frozenset[str]] = []
        for op in parsed.body.operations:
            pattern = op.operation
            if pattern.name != "pdl.pattern":
                raise IRError(f"PDL text must hold patterns alone, not {pattern.name}")
            _check_calls(pattern)
            needed.append(frozenset(_kinds(pattern, matched=True)))
            _check_kinds({*needed[-1], *_kinds(pattern, matched=False)})
    return Rules(text, tuple(needed))


def rewritten(module: Module, given: Rules) -> Module:
    """The module in which no rule matches; itself if none did, and verified otherwise.

    Operators that no output needs are dropped on the way.

    Raises:
        IRError: a rule breaks a constraint, or the rules come to no end.
    """
    kinds = Counter(node.kind for inner in module.graph.nested() for node in inner.nodes)
    if not any(needed <= {*kinds, WEIGHT} for needed in given.needed):
        return module
    with context(), Location.unknown():
        # both must outlive the rewriting: neither owns the other
        parsed = _parsed(given.text)
        patterns = PDLModule(parsed)
        patterns.register_constraint_function(FILLED, _filled(module.weights))
        mlir = _copied(module.mlir)
        before = fingerprint(mlir)
        config = GreedyRewriteConfig()  # without a bound, a pattern that feeds itself hangs
        config.max_num_rewrites = MATCHES * (1 + sum(kinds.values()))
        try:
            apply_patterns_and_fold_greedily(mlir, patterns.freeze(), config)
        except RuntimeError:
            raise IRError(
                "PDL patterns must come to an end; let none undo what another does"
            ) from None
        if fingerprint(mlir) == before:
            return module
    found = Module(mlir, module.weights, module.name)
    found.verify()
    named = {s for inner in found.graph.nested() for s in inner.constants.values()}
    kept = {symbol: array for symbol, array in module.weights.items() if symbol in named}
    return Module(mlir, kept, module.name)


def filled(array: Array, number: float) -> bool:
    """Whether every element has the bits of the number (0.0 and -0.0 differ)."""
    bits = np.dtype(f"u{array.dtype.itemsize}")
    wanted = np.asarray(number).astype(array.dtype).view(bits)
    rows = array if array.ndim else array.reshape(1)
    found = (np.asarray(rows[part]).view(bits) == wanted for part in parts(rows))
    return array.size > 0 and all(bool(same.all()) for same in found)


def _filled(weights: Mapping[str, Array]) -> Any:
    """The constraint as PDL calls it; it answers True where it does not hold."""

    def fails(rewriter: Any, results: Any, arguments: list[Any]) -> bool:
        del rewriter, results
        value, number = arguments
        owner = getattr(value.owner, "operation", None)
        if owner is None or owner.name != WEIGHT:
            return True
        array = weights.get(str(plain(owner.attributes["symbol"])))
        wanted = plain(number)
        if array is None or not isinstance(wanted, (int, float)):
            return True
        return not filled(array, wanted)

    return fails


def _parsed(text: str) -> MlirModule:
    try:
        return MlirModule.parse(text)
    except MLIRError as error:
        raise IRError(f"{first_line(error)}; PDL text must be MLIR") from None


def _copied(mlir: MlirModule) -> MlirModule:
    """A second module of the same operations; MLIR copies without printing."""
    made = MlirModule.create()
    with InsertionPoint(made.body):
        for op in mlir.body.operations:
            op.operation.clone()
    return made


def _inside(operation: Any) -> Iterator[Any]:
    for region in operation.regions:
        for block in region.blocks:
            for op in block.operations:
                yield op.operation
                yield from _inside(op.operation)


def _kinds(pattern: Any, matched: bool) -> Iterator[str]:
    """The operators that a pattern matches, or those that it makes."""
    for op in _inside(pattern):
        if op.name == "pdl.operation":
            makes = op.parent.operation.name == "pdl.rewrite"
            if makes is not matched and "opName" in op.attributes:
                yield str(plain(op.attributes["opName"]))


def _check_kinds(kinds: set[str]) -> None:
    known = {*OPS, WEIGHT}
    for kind in sorted(kinds - known):
        raise IRError(f"there is no operator '{kind}'{nearest(kind, known)}")


def _check_calls(pattern: Any) -> None:
    """MLIR ends the process at a function that nobody registered."""
    for op in _inside(pattern):
        # the name of a constraint, of a rewrite, and of a rewrite without a body
        called = op.attributes["name"] if "name" in op.attributes else None
        calls = op.name.startswith("pdl.apply_native") or op.name == "pdl.rewrite"
        if called is not None and calls and plain(called) != FILLED:
            raise IRError(
                f"a PDL pattern must call no function but '{FILLED}', not '{plain(called)}'"
            )
