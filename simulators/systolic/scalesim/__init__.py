"""SCALE-Sim's numbers, files and memory model."""
