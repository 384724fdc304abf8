"""ONNX in (`load`) and out (`export.export`).

A file passes `file` (bytes), `structure` (graph rules), `graph` (the walk), and for every node
one function of `ops` or `quant`, which work on the checked node of `node`.
"""

from tetrapla.frontend.onnx.file import SUFFIXES, load

__all__ = ["SUFFIXES", "load"]
