"""What the readers and writers of MLIR's public dialects share: StableHLO's and TOSA's.

A file passes `text` (bounds, locations), `walk` (functions, calls, refusals), and for every
operation one function of a dialect's tables, which work on the `ForeignOp` of `operation` and
write through the `Scope` of `scope`.
"""
