"""The systolic compiler: a flat, quantised module becomes a program of the instructions."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from weakref import WeakKeyDictionary

from tetrapla.backends.systolic.array.formats import CLAMPED, stores_narrow
from tetrapla.backends.systolic.check import cross_check
from tetrapla.backends.systolic.closed.form import SystolicForm, form
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.systolic.dimensions import check_dimensions
from tetrapla.backends.systolic.partition import Refusal, on_floats, refuse
from tetrapla.backends.target_ import Inputs, Lowered, Options, Target
from tetrapla.backends.work_ import about_macs
from tetrapla.ir.errors import ModelError, SpecError, UnsupportedError
from tetrapla.ir.module import Module
from tetrapla.ir.unfuse import unfused
from tetrapla.passes.cells_ import CELLS
from tetrapla.passes.pass_ import run as run_passes
from tetrapla.passes.pipeline_ import ARRAY, CLEANING, flattened
from tetrapla.passes.unroll_loops import UnrollLoops
from tetrapla.passes.unroll_recurrence import UnrollRecurrence
from tetrapla.passes.widen_weights import WidenWeights
from tetrapla.simulators.systolic.machine import least_cycles, run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

# by number format of a model, those of the array that multiply it
MULTIPLY = {
    "int8": ("int8",),
    "int4": ("int8",),
    "int16": ("int16x8", "int16"),
    "bf16": ("bf16",),
    "fp16": ("fp16",),
}
FLOATS = ("bf16", "fp16")


def lower(
    module: Module, spec: SystolicSpec, calibration: Inputs | None, options: Options
) -> Lowered[Program]:
    """Take loops, recurrent layers and attention apart, quantise, and compile.

    Raises:
        ModelError: a float module without calibration data.
        SpecError: the chip's default format is none of this family's.
        UnsupportedError: the array has not the number format, or no instruction can do a node.
    """
    lowered, quant = _quantised(module, spec, calibration, options)
    program = compile_graph(lowered.graph, spec, lowered.name)
    return Lowered(lowered, program, tuple(_warnings(quant, spec, module, lowered)))


def closed_form(module: Module, spec: SystolicSpec, options: Options) -> SystolicForm:
    """The time and the counts of a model on designs like this one, by formula.

    Args:
        module: shape-only, so that no value is calibrated.
        spec: has what all designs have in common.
        options: of the lowering.

    Raises:
        UnsupportedError: no formula is for the model or the machine.
    """
    lowered, _ = _quantised(module, spec, None, options)
    return form(lowered.graph, spec)


def _quantised(
    module: Module, spec: SystolicSpec, calibration: Inputs | None, options: Options
) -> tuple[Module, str]:
    """The module that is compiled, and its number format."""
    quant = options.quant or spec.chip.default_format
    if options.quant is None and quant not in ARRAY:
        raise SpecError(
            f"chip.default_format must be one of {', '.join(ARRAY)}, not '{quant}'; "
            "name one or give --quant"
        )
    check_dimensions(module.graph)
    formats = tuple(spec.array.formats)
    # a sweep lowers one model for one machine after another: their passes are the same
    arrays = () if calibration is None else tuple(calibration.items())
    known = tuple((name, id(array)) for name, array in arrays)
    kept, key = _kept.setdefault(module, {}), (calibration is None, known, quant, formats)
    if key not in kept:
        lowered = _lowered(module, calibration, quant, formats)
        # RQ clamps; what else a float product has behind it is a routine's
        lowered = unfused(lowered, CLAMPED)
        refuse(_left(lowered))
        kept[key] = lowered, arrays  # which keep their identity while they are held
    return kept[key][0], quant


_kept: WeakKeyDictionary[Module, dict[tuple[object, ...], tuple[Module, object]]]
_kept = WeakKeyDictionary()


def _warnings(quant: str, spec: SystolicSpec, module: Module, lowered: Module) -> Iterator[str]:
    if quant == "int4" and not stores_narrow(tuple(spec.array.formats)):
        yield (
            "4-bit weights take a byte each in DRAM, since array.formats has no int4; "
            "time and energy are those of int8"
        )
    yield from about_macs(module, lowered)


def _lowered(
    module: Module, calibration: Inputs | None, quant: str, formats: tuple[str, ...]
) -> Module:
    narrow = stores_narrow(formats)
    quantised = any(n.kind.startswith("qnn.") for n in module.graph.nodes)
    if quantised and not on_floats(module.graph):
        return module if narrow else run_passes(module, (WidenWeights(),))
    text = "{" in quant or "," in quant
    if quant not in ARRAY and not text:
        return module  # partition says what it cannot do on floats
    _check_format(quant, formats)
    if calibration is None and not module.shape_only and quant not in FLOATS:
        raise ModelError(
            f"systolic must have calibration data to quantise '{module.name}', not none; "
            "give --calib, --calib-fraction or --data digits"
        )
    rest = next((name for name in FLOATS if name in formats), None)
    rest = None if quant in FLOATS or text else rest
    return flattened(module, calibration or {}, quant, rest=rest, narrow=narrow)


def _check_format(quant: str, formats: tuple[str, ...]) -> None:
    there = [name for name, needs in MULTIPLY.items() if any(n in formats for n in needs)]
    if quant in MULTIPLY and quant not in there:
        raise UnsupportedError(
            f"systolic: --quant must be a format of the array, {' or '.join(there)}, "
            f"not {quant}; leave --quant out or take another chip"
        )


def _left(module: Module) -> Iterable[Refusal]:
    """What the pipeline could not take apart, and why."""
    loops = UnrollLoops().refusals(module)
    for node in module.graph.nodes:
        reason = loops.get(node.name)
        if node.kind in CELLS:
            reason = UnrollRecurrence().refusal(node)
        if reason is not None:
            yield Refusal(node.kind, node.name, reason)


def _never(spec: SystolicSpec, options: Options) -> bool:
    """Nothing here is random."""
    del spec, options
    return False


TARGET = Target(
    family="systolic",
    spec_type=SystolicSpec,
    default_chip="tpu-v1",
    lower=lower,
    run=run,
    cross_check=cross_check,
    stochastic=_never,
    least_cycles=least_cycles,
    sources=lambda program: {"program.bin": program.binary()},
    schemes={name: (each, *CLEANING) for name, each in ARRAY.items()},
    closed_form=closed_form,
)
