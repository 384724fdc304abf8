"""Float32 layers become int8 ones between one quantise and one dequantise.

    before   y = nn.conv2d(x, @w, @b)          after   q = qnn.quantize(x, @x.scale)
                 {activation = "relu"}                 a = qnn.conv2d(q, @w.int8, @b.int32)
                                                       r = qnn.requantize(a, @multiplier)
                                                               {low = zero_point}
                                                       y = qnn.dequantize(r, @y.scale)

Products, convolutions, sums and average pools compute on integers; reshapes, transposes and
maximum pools pass them through. What has no integer form stays float between a dequantise and a
quantise. A ReLU or ReLU6 costs nothing: it is the requantisation's bounds. The integer operator
keeps the layer's name, and its requantisation is ``<layer>.requantize``. Formats that are no
integers leave the products float, on operands that are rounded to them (`floats_`). A residual
and an activation other than ReLU come out of their product first (`ir.unfuse`) and are treated
as any operator. The bodies of loops and branches stay float.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.calibrate_ import Ranges, ranges
from tetrapla.passes.context_ import Context
from tetrapla.passes.integers_ import lower
from tetrapla.passes.lowering_ import Lowering
from tetrapla.passes.moments_ import Moments
from tetrapla.passes.pass_ import Pass
from tetrapla.passes.plan_ import Plan
from tetrapla.passes.scheme_ import Scheme
from tetrapla.passes.shared_ import shared


@dataclass(frozen=True)
class Quantize(Pass):
    """Post-training quantisation with ONNX Runtime's exact integer arithmetic.

    It chooses new values on purpose, so it admits no bound: what it costs is measured as
    accuracy on data. Whoever judges a machine takes the quantised module as the reference.

    Args:
        ranges: of the module that is quantised (`calibrate_.ranges`); None takes them from
            the context that the pass is run in.
        bits: of integer activations, 8 or 16 (then sums have 64 bits, and only products and
            convolutions are integer).
        weights: i8, i4, bf16, f16, f8E4M3FN, f8E5M2, one of OCP's microscaling formats
            (mxf8E4M3FN, mxf8E5M2, mxf6E2M3FN, mxf6E3M2FN, mxf4E2M1FN, mxi8), or f32, which
            leaves them.
        activations: "integer"; "dynamic" (ui8 by each tensor's range while it runs, of products
            and convolutions with integer weights per channel or tensor, see `dynamic_`); or a
            float format as of the weights.
        method: of finding ranges in the context's calibration data: minmax, percentile, entropy
            or mse (`calibrate_.ranges`).
        percentile_pct: of the method "percentile", the share of values inside.
        rounding: of integer weights: "nearest", "mse" (the scales of least squared error) or
            "gptq" (those, and second-order repair; needs calibration data).
        group: how many channels or rows of integer weights share a scale; 0 for all. Weights in
            groups are turned to floats before the product.
        per_channel: one scale per output channel of the weights, else one per tensor.
        correct_bias: whether biases make good what rounding the weights takes from the mean
            result (needs calibration data).
        all_operators: whether multiplication, concatenation, softmax and element-wise functions
            (as tables) become integer too; not every backend knows those.
        whole: whether, for a machine that has nothing else, all that moves values moves
            integers (slices, gathers, those of constant tables as well), values that are joined
            share a scale (`shared_`), a product by a positive number changes the scale alone,
            the second matrix of a product of two activations has the zero point 0, and scales
            that a model quantised in part names itself (of 8 bits) stay (`given_`).
        layers: other formats for the weights of some layers, by name.
        moments: of layers' inputs, by layer; None takes them from the context.
    """

    max_rel_error: ClassVar[float] = float("inf")
    ranges: Ranges | None = None
    bits: int = 8
    weights: str = "i8"
    activations: str = "integer"
    method: str = "minmax"
    percentile_pct: float = 99.99
    rounding: str = "nearest"
    group: int = 0
    per_channel: bool = True
    correct_bias: bool = False
    all_operators: bool = False
    whole: bool = False
    layers: Mapping[str, str] = field(default_factory=dict[str, str], hash=False)
    moments: Mapping[str, Moments] | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        self._scheme()

    def __call__(self, module: Module) -> Module:
        if module.shape_only:
            raise ModelError(
                f"model '{module.name}' is shape-only and must have weights to be quantised"
            )
        scheme = self._scheme()
        if self.ranges is None and scheme.calibrated:
            raise ModelError(
                f"model '{module.name}' must have calibrated ranges to be quantised, not none; "
                "run the pass in a context"
            )
        if self.moments is None and scheme.needs_moments:
            raise ModelError(
                f"model '{module.name}' must have calibration data for gptq and for correcting "
                "biases, not none; run the pass in a context"
            )
        module = unfused(module)
        found = self.ranges or Ranges()
        if scheme.whole:
            passes_on = Plan(module.graph, scheme, found).passes_on
            found = shared(module.graph, found, scheme.bits, passes_on)
        state = Lowering(module, found, scheme, self.moments or {})
        for node in state.graph.nodes:
            if not state.settled(node):
                lower(state, node)
        for _, value in state.graph.outputs:
            state.real(value)
        return state.new.finish()

    def bound(self, module: Module, context: Context) -> Self:
        scheme, ready = self._scheme(), self
        if self.ranges is None and scheme.calibrated:
            found = context.ranges_of(module, self.method, self.percentile_pct, self.bits)
            ready = replace(ready, ranges=found)
        if self.moments is None and scheme.needs_moments:
            found_moments = context.moments_of(module, scheme.rounding == "gptq")
            ready = replace(ready, moments=found_moments)
        return ready

    @classmethod
    def example(cls, module: Module, inputs: Mapping[str, Array]) -> Self:
        return cls(ranges(module, inputs))

    def _scheme(self) -> Scheme:
        return Scheme(
            self.bits,
            self.activations,
            self.weights,
            self.method,
            self.percentile_pct,
            self.rounding,
            self.group,
            self.per_channel,
            self.correct_bias,
            self.all_operators,
            self.whole,
            self.layers,
        )
