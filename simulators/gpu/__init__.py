"""The GPU: a plan of fused kernels, what they compute and how long they take."""
