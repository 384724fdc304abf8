"""The activations of recurrent layers on scalars, by the names of `nn.gate`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np

from tetrapla.ir.linalg.elementwise import clipped, logistic
from tetrapla.ir.linalg.scalar import Body, Scalar

Activation: TypeAlias = Callable[[Body, Scalar], Scalar]


def activations_of(text: str) -> list[Activation]:
    """The functions of ``"sigmoid,tanh,leaky_relu:0.1"``."""
    return [_activation(part) for part in text.split(",")]


def _activation(text: str) -> Activation:
    name, *given = text.split(":")
    own = [float(np.float32(number)) for number in given]
    function, usual = _KNOWN[name]
    parameters = [*own, *usual[len(own) :]]

    def activation(b: Body, x: Scalar) -> Scalar:
        return function(b, x, *(b.like(number, x) for number in parameters))

    return activation


def _relu(b: Body, x: Scalar) -> Scalar:
    return b.maximum(x, b.like(0, x))


def _tanh(b: Body, x: Scalar) -> Scalar:
    return b.math("tanh", x)


def _softsign(b: Body, x: Scalar) -> Scalar:
    return b.div(x, b.add(b.like(1, x), b.math("absf", x)))


def _softplus(b: Body, x: Scalar) -> Scalar:
    tail = b.math("log1p", b.math("exp", b.negative(b.math("absf", x))))
    return b.add(b.maximum(x, b.like(0, x)), tail)


def _affine(b: Body, x: Scalar, alpha: Scalar, beta: Scalar) -> Scalar:
    return b.add(b.mul(alpha, x), beta)


def _leaky_relu(b: Body, x: Scalar, alpha: Scalar) -> Scalar:
    return b.select(b.compare("lt", x, b.like(0, x)), b.mul(alpha, x), x)


def _thresholded_relu(b: Body, x: Scalar, alpha: Scalar) -> Scalar:
    return b.select(b.compare("gt", x, alpha), x, b.like(0, x))


def _scaled_tanh(b: Body, x: Scalar, alpha: Scalar, beta: Scalar) -> Scalar:
    return b.mul(alpha, b.math("tanh", b.mul(beta, x)))


def _hard_sigmoid(b: Body, x: Scalar, alpha: Scalar, beta: Scalar) -> Scalar:
    return clipped(b, b.add(b.mul(alpha, x), beta), 0, 1)


def _elu(b: Body, x: Scalar, alpha: Scalar) -> Scalar:
    zero = b.like(0, x)
    below = b.mul(alpha, b.math("expm1", b.minimum(x, zero)))
    return b.select(b.compare("lt", x, zero), below, x)


_KNOWN: dict[str, tuple[Callable[..., Scalar], tuple[float, ...]]] = {
    "relu": (_relu, ()),
    "tanh": (_tanh, ()),
    "sigmoid": (logistic, ()),
    "softsign": (_softsign, ()),
    "softplus": (_softplus, ()),
    "affine": (_affine, (1.0, 0.0)),
    "leaky_relu": (_leaky_relu, (0.01,)),
    "thresholded_relu": (_thresholded_relu, (1.0,)),
    "scaled_tanh": (_scaled_tanh, (1.0, 1.0)),
    "hard_sigmoid": (_hard_sigmoid, (0.2, 0.5)),
    "elu": (_elu, (1.0,)),
}
