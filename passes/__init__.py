"""Module to module: one file, one pass, named by its file; `pass_` is the contract."""
