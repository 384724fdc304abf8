"""What each type of node becomes: operators over trains [T, B, ...].

One function for a type, in `LINEAR` or `NEURON_KINDS`; a new type needs its fields in
`network.NODES` too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np

from tetrapla.frontend.builder import Builder
from tetrapla.frontend.builder.tensor import Tensor
from tetrapla.frontend.nir.network import SPIKING, Node
from tetrapla.frontend.nir.presets import Preset
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array, Attribute

_NO_THRESHOLD = np.float32(np.inf)


@dataclass(frozen=True)
class Context:
    """Where nodes are written: the builder, the discretisation and the timestep."""

    builder: Builder
    preset: Preset
    dt_s: float


Linear: TypeAlias = Callable[[Context, str, Node, Tensor], Tensor]


def real(c: Context, x: Tensor) -> Tensor:
    """The values as f32."""
    return x if x.dtype == "f32" else c.builder.op("nn.cast", [x], {"dtype": "f32"})


def _product(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    weight = np.atleast_2d(_f32(node.array("weight")))
    if weight.ndim != 2:
        raise ModelError(f"weight must have two axes, not shape {weight.shape}; split the node")
    given: list[Tensor | Array] = [x, weight.T.copy()]
    if "bias" in node.fields:
        given.append(np.atleast_1d(_f32(node.array("bias"))))
    return c.builder.op("spike.matmul", given, {"exponent": 0}, name)


def _scale(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    return c.builder.op("nn.mul", [real(c, x), _f32(node.array("scale"))], {}, name)


def _conv2d(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    return _conv(c, name, node, x, _f32(node.array("weight")))


def _conv1d(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    flat = x.reshape(*x.shape[:-1], 1, x.shape[-1])
    weight = _f32(node.array("weight"))
    made = _conv(c, name, node, flat, weight[:, :, None, :], axes=1)
    return made.reshape(*made.shape[:-2], made.shape[-1])


def _sum_pool(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    return _pool(c, name, node, x, mean=False)


def _average_pool(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    return _pool(c, name, node, x, mean=True)


def _pool(c: Context, name: str, node: Node, x: Tensor, *, mean: bool) -> Tensor:
    """A window's sum or mean: equal synapses, one filter for each channel."""
    kernel = _pair(node, "kernel_size", None, 2)
    channels = x.shape[-3]
    value = 1 / (kernel[0] * kernel[1]) if mean else 1.0
    weight = np.full((channels, 1, *kernel), value, np.float32)
    fields = {"stride": np.asarray(kernel), **node.fields, "groups": np.asarray(channels)}
    return _conv(c, name, Node(node.type, fields), x, weight)


def _conv(c: Context, name: str, node: Node, x: Tensor, weight: Array, axes: int = 2) -> Tensor:
    strides, dilations = (_pair(node, each, 1, axes) for each in ("stride", "dilation"))
    kernel = weight.shape[2:]
    word = node.text("padding")
    if word == "same":
        # PyTorch's: what is odd goes behind
        total = [d * (k - 1) for d, k in zip(dilations, kernel, strict=True)]
        pads = (*(n // 2 for n in total), *(n - n // 2 for n in total))
    elif word in (None, "valid"):
        pads = _pair(node, "padding", 0, axes) * 2 if word is None else (0,) * 4
    else:
        raise ModelError(f"padding must be numbers, 'same' or 'valid', not {word!r}")
    held: dict[str, Attribute] = {
        "strides": strides,
        "pads": pads,
        "dilations": dilations,
        "groups": int(node.array("groups", 1)),
        "exponent": 0,
    }
    given: list[Tensor | Array] = [x, weight]
    if "bias" in node.fields:
        given.append(np.atleast_1d(_f32(node.array("bias"))))
    return c.builder.op("spike.conv2d", given, held, name)


def _flatten(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    del c, name
    shape = x.shape[2:]
    first, last = (int(node.array(f, d)) for f, d in (("start_dim", 1), ("end_dim", -1)))
    first, last = (axis + len(shape) if axis < 0 else axis for axis in (first, last))
    if not 0 <= first <= last < len(shape):
        raise ModelError(
            f"start_dim and end_dim must be axes of {list(shape)} in order, not {first} and "
            f"{last}"
        )
    size = int(np.prod(shape[first : last + 1]))
    return x.reshape(*x.shape[:2], *shape[:first], size, *shape[last + 1 :])


def _delay(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    delay = node.array("delay").astype(np.float64)
    if not (delay >= 0).all() or not np.isfinite(delay).all():
        raise ModelError(f"a delay must be 0 s or more, not {delay.min():g}; mend it")
    steps = np.rint(delay / c.dt_s).astype(np.int32)
    return c.builder.op("spike.delay", [x, steps], {}, name)


def _threshold(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    above = c.builder.op("nn.greater", [real(c, x), _f32(node.array("threshold"))], {}, name)
    return c.builder.op("nn.cast", [above], {"dtype": "i8"})


def _border(c: Context, name: str, node: Node, x: Tensor) -> Tensor:
    del c, name, node
    return x


LINEAR: Final[Mapping[str, Linear]] = MappingProxyType(
    {
        "Input": _border,
        "Output": _border,
        "Linear": _product,
        "Affine": _product,
        "Scale": _scale,
        "Conv1d": _conv1d,
        "Conv2d": _conv2d,
        "SumPool2d": _sum_pool,
        "AvgPool2d": _average_pool,
        "Flatten": _flatten,
        "Delay": _delay,
        "Threshold": _threshold,
    }
)

# a neuron's operator, how many numbers it remembers, and its operands behind start
NEURON_KINDS: Final[Mapping[str, tuple[str, int, str]]] = MappingProxyType(
    {
        "I": ("spike.if", 1, "r"),
        "IF": ("spike.if", 1, "r"),
        "LI": ("spike.lif", 1, "tau r v_leak"),
        "LIF": ("spike.lif", 1, "tau r v_leak"),
        "CubaLI": ("spike.cuba_lif", 2, "tau_syn tau_mem r v_leak w_in"),
        "CubaLIF": ("spike.cuba_lif", 2, "tau_syn tau_mem r v_leak w_in"),
    }
)
_DEFAULTS = {"w_in": 1.0}  # of files older than the field


def rest(node: Node, batch: int, shape: tuple[int, ...]) -> Array:
    """The state in which a neuron starts: all numbers 0."""
    return np.zeros((NEURON_KINDS[node.type][1], batch, *shape), np.float32)


def neuron(
    c: Context, name: str, node: Node, x: Tensor, start: Tensor | Array
) -> tuple[Tensor, Tensor]:
    """A neuron's spikes (or its voltage, where it has none) and its last state."""
    kind, _, fields = NEURON_KINDS[node.type]
    given: list[Tensor | Array] = [real(c, x), start]
    given += [_parameter(c, node, field) for field in fields.split()]
    held = c.preset.firing()
    if kind != "spike.if":
        held["method"] = c.preset.method
    if node.type not in SPIKING:
        plain: dict[str, Attribute] = {"reset": "to_zero", "reset_time": "same"}
        held |= {**plain, "spikes": "one"}
        given.append(np.asarray(_NO_THRESHOLD))
    else:
        given.append(_f32(node.array("v_threshold")))
        value = _f32(node.array("v_reset", 0.0))
        if held["reset"] == "to_value" and not value.any():
            held["reset"] = "to_zero"
        elif held["reset"] == "to_value":
            given.append(value)
    s, v, final = c.builder.ops(kind, given, held, name)
    return (s if node.type in SPIKING else v), final


def _parameter(c: Context, node: Node, field: str) -> Array:
    value = node.array(field, _DEFAULTS.get(field)).astype(np.float64)
    if field.startswith("tau"):
        if not (value > 0).all():
            raise ModelError(f"{field} must be positive, not {value.min():g}; times are in s")
        value = value / c.dt_s
    return _f32(value)


def _pair(node: Node, field: str, default: float | None, axes: int) -> tuple[int, int]:
    """A size for each of two axes; of one axis, the first one is trivial."""
    flat = node.array(field, default).astype(np.int64).ravel()
    if len(flat) not in (1, axes):
        raise ModelError(f"{field} must be 1 or {axes} numbers, not {len(flat)}")
    if axes == 1:
        return (0 if field == "padding" else 1), int(flat[0])
    return int(flat[0]), int(flat[-1])


def _f32(array: Array) -> Array:
    return np.asarray(array, np.float32)
