"""Models as upstream MLIR on tensors: the text that `tetrapla.ir.jit` compiles.

To add an operator: an element-wise one is a rule in `elementwise.RULES`, a sum along axes a
`Fold` in `reduce.FOLDS`, any other a function in the file of its family and a line in
`lower.LOWERINGS`. `tests/ir/jit` then holds its example to the interpreter.
"""
