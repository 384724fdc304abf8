"""The systolic machine: a small TPU with its instruction set, values, cycles and actions."""
