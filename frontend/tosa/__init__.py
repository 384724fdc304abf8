"""TOSA text in (`operators.load`) and out (`export.export`).

In: what torch-mlir and TensorFlow write for networks of fixed shapes, in the operators'
form of TOSA 1.0: images as NHWC, zero points and shapes as operands. Out: the same form.
"""
