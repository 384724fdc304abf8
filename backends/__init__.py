"""Compilers: a module becomes a machine's program; one file or folder, one target family."""
