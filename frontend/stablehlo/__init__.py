"""StableHLO text in (`operators.load`) and out (`export.export`).

In: what JAX, TensorFlow and torch-mlir write for networks of fixed shapes. Loops, sorting,
scattering and calls of foreign code are refused by name, all of a module together.
"""
