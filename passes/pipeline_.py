"""The pipelines that have a name; backends start from a fused float module or an int8 one.

A name stands for its passes in a pipeline's text, too: ``canonical,quantize{bits=8}``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType

import numpy as np

from tetrapla.ir.graph import DTYPES, Array, Node
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.calibrate_ import Progress, Ranges
from tetrapla.passes.canonicalize import Canonicalize
from tetrapla.passes.context_ import Context
from tetrapla.passes.decompose_attention import DecomposeAttention
from tetrapla.passes.decompose_convolutions import DecomposeConvolutions
from tetrapla.passes.eliminate_common import EliminateCommon
from tetrapla.passes.eliminate_dead_code import EliminateDeadCode
from tetrapla.passes.eliminate_reshapes import EliminateReshapes
from tetrapla.passes.eliminate_transposes import EliminateTransposes
from tetrapla.passes.fold_batch_norm import FoldBatchNorm
from tetrapla.passes.fold_constants import FoldConstants
from tetrapla.passes.fold_scales import FoldScales
from tetrapla.passes.fuse_epilogue import FuseEpilogue
from tetrapla.passes.fuse_pool import FusePool
from tetrapla.passes.fuse_siblings import FuseSiblings
from tetrapla.passes.pass_ import Pass, run
from tetrapla.passes.plan_ import LINEAR
from tetrapla.passes.quantize import Quantize
from tetrapla.passes.recognize_attention import RecognizeAttention
from tetrapla.passes.recognize_gelu import RecognizeGelu
from tetrapla.passes.recognize_group_norm import RecognizeGroupNorm
from tetrapla.passes.recognize_hard_swish import RecognizeHardSwish
from tetrapla.passes.recognize_layer_norm import RecognizeLayerNorm
from tetrapla.passes.recognize_lrn import RecognizeLrn
from tetrapla.passes.recognize_pool import RecognizePool
from tetrapla.passes.recognize_rms_norm import RecognizeRmsNorm
from tetrapla.passes.recognize_silu import RecognizeSilu
from tetrapla.passes.slice_gathers import SliceGathers
from tetrapla.passes.unroll_loops import UnrollLoops
from tetrapla.passes.unroll_recurrence import UnrollRecurrence
from tetrapla.passes.widen_weights import WidenWeights

CLEANING: tuple[Pass, ...] = (FoldConstants(), EliminateDeadCode(), EliminateCommon())
# rules are matched once constants are known and before equal layers are sought. Fusion runs
# twice: a bias must be on the convolution before batch normalisation is folded into both, and a
# ReLU can follow only after
CANONICAL: tuple[Pass, ...] = (
    FoldConstants(),
    EliminateDeadCode(),
    Canonicalize(),
    EliminateCommon(),
    FuseEpilogue(),
    FoldBatchNorm(),
    FuseEpilogue(),
)
# what machines with such units start from: what exporters take apart is put together again, and
# what stands between it goes. Constants must be known first, normalisations named before scales
# and biases move, and products biased before siblings are joined; residuals and activations are
# taken in last, since a product that has one is no sibling and no part of an attention
FUSED: tuple[Pass, ...] = (
    *(FoldConstants(), EliminateDeadCode(), Canonicalize(), EliminateCommon()),
    *(RecognizeLayerNorm(), RecognizeRmsNorm(), RecognizeGroupNorm(), RecognizeLrn()),
    *(RecognizeGelu(), RecognizeSilu(), RecognizeHardSwish(), RecognizePool()),
    *(SliceGathers(), RecognizeAttention()),
    *(FoldScales(), EliminateTransposes(), EliminateReshapes()),
    *(FuseEpilogue(), FoldBatchNorm(), FuseEpilogue(), FusePool()),
    *(FuseSiblings(), FuseEpilogue("all", residual=True), Canonicalize(), *CLEANING),
)
# what a machine starts from that has products of matrices, convolutions and functions of
# vectors alone. Layers are named and joined while the bodies of loops are small, in which the
# passes work as well; then all is written out, and what that makes known is folded
FLAT: tuple[Pass, ...] = (
    *(FoldConstants(), EliminateDeadCode(), Canonicalize(), EliminateCommon()),
    *(RecognizeLayerNorm(), RecognizeRmsNorm(), RecognizeGroupNorm(), RecognizeLrn()),
    *(RecognizeGelu(), RecognizeSilu(), RecognizeHardSwish(), RecognizePool(), SliceGathers()),
    *(FuseEpilogue(), FoldBatchNorm(), FuseEpilogue()),
    # in bodies first, so that all rounds share the constants that are made
    *(UnrollRecurrence(), DecomposeAttention(), DecomposeConvolutions(), UnrollLoops()),
    *(FoldConstants(), EliminateDeadCode(), Canonicalize(), EliminateCommon(), FuseEpilogue()),
)
INT8: tuple[Pass, ...] = (*CANONICAL, Quantize(), *CLEANING)
# 4-bit weights need the care: rounded to the nearest, a depthwise network loses its accuracy
INT4: tuple[Pass, ...] = (
    *CANONICAL,
    Quantize(weights="i4", rounding="gptq", correct_bias=True),
    *CLEANING,
)
# how an array of multipliers holds the operands of its products, by its name for the format
ARRAY: Mapping[str, Quantize] = MappingProxyType(
    {
        "int8": Quantize(all_operators=True, whole=True),
        "int4": Quantize(
            weights="i4", rounding="gptq", correct_bias=True, all_operators=True, whole=True
        ),
        "int16": Quantize(bits=16, whole=True),
        "bf16": Quantize(weights="bf16", activations="bf16", whole=True),
        "fp16": Quantize(weights="f16", activations="f16", whole=True),
    }
)
PIPELINES: Mapping[str, tuple[Pass, ...]] = MappingProxyType(
    {
        "clean": CLEANING,
        "canonical": CANONICAL,
        "fused": FUSED,
        "flat": FLAT,
        "int8": INT8,
        "int4": INT4,
    }
    | {f"array-{name}": (*FLAT, pass_, *CLEANING) for name, pass_ in ARRAY.items()}
)
# weights of a model that are rounded by second-order repair, assumed: it takes seconds for so
# many and minutes for ten times as many
MOST_REPAIRED = 2**20
SCHEMES = ("int8", "int4")  # those that turn a float model into integers
# by scheme, what follows the canonical passes
FOLLOWING: Mapping[str, tuple[Pass, ...]] = MappingProxyType(
    {name: PIPELINES[name][len(CANONICAL) :] for name in SCHEMES}
)


def canonical(module: Module) -> Module:
    """The float module with constants folded and epilogues fused.

    Raises:
        TetraplaError: a pass refuses the module.
    """
    return run(module, CANONICAL)


def int8(
    module: Module,
    calibration: Mapping[str, Array],
    method: str = "minmax",
    progress: Progress | None = None,
) -> Module:
    """The quantised form of the canonical module, calibrated on data.

    Args:
        module: float32.
        calibration: arrays of shape (invocations, *static shape) by input name.
        method: of `calibrate_.ranges`.
        progress: called with 1 after each invocation.

    Raises:
        ModelError: the data does not fit the model, or numbers are not finite.
    """
    context = Context(calibration, progress=progress)
    return run(module, (*CANONICAL, Quantize(method=method), *CLEANING), context)


def quantises(quant: str) -> bool:
    """Whether a number format asks for integers: a name of `SCHEMES`, or a pipeline's text."""
    return quant in SCHEMES or "{" in quant or "," in quant


def quantised(
    module: Module, calibration: Mapping[str, Array], quant: str, *, flat: bool = False
) -> Module:
    """The module in integers that a machine of 8-bit operands takes.

    Args:
        module: float32; of a shape-only one the result is shape-only.
        calibration: arrays of shape (invocations, *static shape) by input name; not looked at
            for a shape-only module.
        quant: a number format that `quantises`; a pipeline's text follows the canonical one.
        flat: whether loops, recurrent layers, attention and convolutions of other ranks are
            taken apart first; then int4 rounds as `flattened` does.

    Raises:
        RegistryError: the text names no pass or option that there is.
        TetraplaError: a pass refuses the module.
    """
    from tetrapla.passes.text_ import parse

    passes = PIPELINES[quant] if quant in SCHEMES else (*CANONICAL, *parse(quant))
    if flat:
        passes = (*FLAT, *(_in_seconds(each, module) for each in passes[len(CANONICAL) :]))
        return _run((*passes, WidenWeights()), module, calibration)
    if module.shape_only:
        return _shapes((*passes, WidenWeights()), module)
    return run(module, (*passes, WidenWeights()), Context(calibration))


def flattened(
    module: Module,
    calibration: Mapping[str, Array],
    quant: str,
    *,
    rest: str | None = None,
    narrow: bool = False,
) -> Module:
    """The module for an array of multipliers and a vector unit, and nothing beside them.

    Args:
        module: float32; of a shape-only one the result is shape-only.
        calibration: arrays of shape (invocations, *static shape) by input name; not looked at
            for a shape-only module, nor for a format of floats.
        quant: a format of `ARRAY`, or a pipeline's text, which follows the flat one; int4
            rounds the weights of models of over `MOST_REPAIRED` by "mse".
        rest: bf16 or fp16, for the products that `quant` leaves as floats.
        narrow: whether weights under 8 bits stay so.

    Raises:
        RegistryError: the text names no pass or option that there is.
        TetraplaError: a pass refuses the module.
    """
    from tetrapla.passes.text_ import parse

    if quant in ARRAY:
        own = tuple(_in_seconds(each, module) for each in PIPELINES[f"array-{quant}"])
    else:
        own = (*FLAT, *parse(quant))
    made = _run(own, module, calibration)
    if rest is not None and any(map(_is_float, made.graph.nodes)):
        made = _run((ARRAY[rest], *CLEANING), made, calibration)
    return made if narrow else run(made, (WidenWeights(),))


def _run(passes: tuple[Pass, ...], module: Module, calibration: Mapping[str, Array]) -> Module:
    if module.shape_only:
        return _shapes(passes, module, (Quantize, FoldBatchNorm))
    return run(module, passes, Context(calibration))


def _is_float(node: Node) -> bool:
    return node.kind in LINEAR and node.results[0].dtype == "f32"


def _in_seconds(pass_: Pass, module: Module) -> Pass:
    """The pass with the rounding of least error in place of one that takes minutes."""
    size = sum(array.size for array in module.weights.values())
    if isinstance(pass_, Quantize) and pass_.rounding == "gptq" and size > MOST_REPAIRED:
        return replace(pass_, rounding="mse")
    return pass_


def _shapes(
    passes: tuple[Pass, ...], module: Module, filled: tuple[type[Pass], ...] = (Quantize,)
) -> Module:
    """A shape-only module after passes.

    Some need numbers: these are given zeros, quantisation one range for all. What comes of them
    means nothing, and is dropped with the zeros.
    """
    for each in passes:
        if not isinstance(each, filled):
            module = run(module, (each,))
            continue
        names = [node.name for node in unfused(module).graph.nodes]
        same = Ranges(
            dict.fromkeys(module.inputs, (0.0, 1.0)), dict.fromkeys(names, (0.0, 1.0))
        )
        zeros = Module(module.mlir, _zeros(module), module.name)
        if isinstance(each, Quantize):  # other roundings need data
            each = replace(each, rounding="nearest", correct_bias=False)
        made = run(zeros, (each,), Context(ranges=same))
        module = Module(made.mlir, {}, made.name)
    return module


def _zeros(module: Module) -> dict[str, Array]:
    """Zeros without memory for the constants; a single number may be a factor, and is one."""
    return {
        graph.constants[value.index]: np.broadcast_to(
            np.array(value.elements == 1).astype(DTYPES[value.dtype]), value.shape
        )
        for graph in module.graph.nested()
        for node in graph.nodes
        for value in node.operands
        if graph.is_weight(value)
    }
