"""One rule, ``neg(neg(x)) = x``, in three forms on 10,000 operators; see decision 0008."""

from __future__ import annotations

import time
from importlib import import_module
from typing import Any

from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.graph import Node, Value
from tetrapla.ir.mlir import ROOT, Location, context
from tetrapla.ir.mlir import Module as MlirModule
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.passes import pattern_, pdl_
from tetrapla.passes.edit_ import Edit

BLOCKS = 2_500
KINDS = ("nn.neg", "nn.neg", "nn.exp", "nn.relu")
TEXT = """pdl.pattern @neg_of_neg : benefit(1) {
  %type = pdl.type
  %x = pdl.operand : %type
  %first = pdl.operation "nn.neg"(%x : !pdl.value) -> (%type : !pdl.type)
  %between = pdl.result 0 of %first
  %root = pdl.operation "nn.neg"(%between : !pdl.value) -> (%type : !pdl.type)
  pdl.rewrite %root { pdl.replace %root with (%x : !pdl.value) }
}"""


@pattern_.pattern("nn.neg")
def neg_of_neg(edit: Edit, node: Node) -> Value | None:
    inner = edit.maker(node.operands[0], "nn.neg")
    return None if inner is None else inner.operands[0]


def _module() -> Module:
    build = ModuleBuilder("chain")
    x = build.input("x", (4, 8))
    for i in range(BLOCKS * len(KINDS)):
        x = build.op(KINDS[i % len(KINDS)], [x])
    build.output("y", x)
    return build.finish()


def _over_operations_s(module: Module) -> float:
    """MLIR's greedy driver with a Python function over its operations."""
    rewrite = import_module(f"{ROOT}.rewrite")

    def rule(op: Any, rewriter: Any) -> bool:
        inner = op.operands[0].owner
        if getattr(inner, "name", getattr(inner, "OPERATION_NAME", "")) != "nn.neg":
            return True  # no match
        rewriter.replace_op(op, [inner.operands[0]])
        return False

    with context(), Location.unknown():
        copy = MlirModule.parse(module.text())
        patterns = rewrite.RewritePatternSet()
        patterns.add(OPS["nn.neg"], rule)
        start_s = time.process_time()
        rewrite.apply_patterns_and_fold_greedily(copy, patterns.freeze())
        spent_s = time.process_time() - start_s
        assert '"nn.neg"' not in str(copy), "the rule must match everywhere"
    return spent_s


def main() -> None:
    """Print every figure: each time is of rewriting, verification and snapshot included."""
    module, rules = _module(), pdl_.rules(TEXT)
    start_s = time.process_time()
    python = pattern_.rewritten(module, [neg_of_neg])
    print(f"patterns_python_over_nodes_s {time.process_time() - start_s:.3f}")
    start_s = time.process_time()
    pdl = pdl_.rewritten(module, rules)
    print(f"patterns_pdl_s {time.process_time() - start_s:.3f}")
    assert len(python.graph.nodes) == len(pdl.graph.nodes) == BLOCKS * 2
    # what finds nothing costs no verification
    start_s = time.process_time()
    assert pattern_.rewritten(python, [neg_of_neg]) is python
    print(f"patterns_python_over_nodes_no_match_s {time.process_time() - start_s:.3f}")
    once = pdl_.rules(TEXT.replace('"nn.neg"', '"nn.exp"'))
    start_s = time.process_time()
    assert pdl_.rewritten(pdl, once) is pdl
    print(f"patterns_pdl_no_match_s {time.process_time() - start_s:.3f}")
    print(f"patterns_python_over_operations_alone_s {_over_operations_s(module):.3f}")


if __name__ == "__main__":
    main()
