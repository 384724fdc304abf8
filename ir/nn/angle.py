"""Angles: tangents, inverse and hyperbolic functions, rounded once from float64."""

from typing import Any

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.nn.dialect import Nn
from tetrapla.ir.nn.unary import Rounded


class Tan(Rounded, dialect=Nn, name="tan"):
    """The tangent of x in radians."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.tan(x)


class Asin(Rounded, dialect=Nn, name="asin"):
    """The angle in radians whose sine is x; NaN outside of -1..1."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.arcsin(x)


class Acos(Rounded, dialect=Nn, name="acos"):
    """The angle in radians whose cosine is x; NaN outside of -1..1."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.arccos(x)


class Atan(Rounded, dialect=Nn, name="atan"):
    """The angle in radians whose tangent is x."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.arctan(x)


class Sinh(Rounded, dialect=Nn, name="sinh"):
    """The hyperbolic sine."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.sinh(x)


class Cosh(Rounded, dialect=Nn, name="cosh"):
    """The hyperbolic cosine."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.cosh(x)


class Asinh(Rounded, dialect=Nn, name="asinh"):
    """The inverse of the hyperbolic sine."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.arcsinh(x)


class Acosh(Rounded, dialect=Nn, name="acosh"):
    """The inverse of the hyperbolic cosine; NaN below 1."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.arccosh(x)


class Atanh(Rounded, dialect=Nn, name="atanh"):
    """The inverse of the hyperbolic tangent; NaN outside of -1..1."""

    @staticmethod
    def function(x: Array) -> Any:
        return np.arctanh(x)
