"""Kernels whose code is made operator by operator, element by element."""
