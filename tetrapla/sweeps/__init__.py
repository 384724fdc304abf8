"""Sweeps: grids, ranges, formulas, searches, and the store of what was computed."""
