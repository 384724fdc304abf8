"""A plan as plain CUDA C: its text, its compilation without a GPU, and its run on a CPU."""
