"""Figures for papers out of the JSON of simulate, compare, demo and sweep (extra `plot`)."""
