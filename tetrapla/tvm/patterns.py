"""Which calls are offloaded, as data: chains first, the longest before its parts.

A chain is what a target fuses into one step; whatever else has a translation is offloaded call
by call, and neighbours become one region.
"""

from __future__ import annotations

ACTIVATIONS = (
    "nn.relu",
    "nn.gelu",
    "nn.gelu_tanh",
    "nn.silu",
    "nn.leakyrelu",
    "sigmoid",
    "tanh",
)
PRODUCTS = ("nn.conv2d", "nn.conv1d", "nn.conv2d_transpose", "matmul")

# operators in the order of the data; each takes the one before it as an operand
CHAINS: tuple[tuple[str, ...], ...] = (
    *((product, "add", act) for product in PRODUCTS for act in ACTIVATIONS),
    *((product, act) for product in PRODUCTS for act in ACTIVATIONS),
    *((product, "add") for product in PRODUCTS),
    ("maximum", "minimum"),  # ONNX's Clip
)


def name_of(chain: tuple[str, ...]) -> str:
    """What a pattern is called in TVM's module: behind the code generator's name."""
    return f"tetrapla.{'_'.join(each.removeprefix('nn.') for each in chain)}"
