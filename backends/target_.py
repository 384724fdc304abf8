"""What a target is, and the registry that finds one by chip, family or YAML file.

A backend's file ends in ``TARGET = Target(...)``. Built-in families are the files of this
folder; outsiders register under the entry point group ``tetrapla.targets``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from pkgutil import iter_modules
from typing import Any, Generic, Protocol, TypeAlias, TypeVar

from tetrapla.ir.errors import RegistryError, nearest
from tetrapla.ir.graph import Array
from tetrapla.ir.module import Module
from tetrapla.passes.pass_ import Pass
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.recording_ import Recording, of_slices
from tetrapla.simulators.report import CrossCheck, Run
from tetrapla.simulators.spec_ import Loaded, Spec, chips, family_of, load_spec
from tetrapla.simulators.systolic.architecture.components import is_architecture

S = TypeVar("S", bound=Spec)
P = TypeVar("P")

_ARCHITECTURE = "tetrapla.simulators.systolic.architecture.chip"
# files of other tools: by suffix, the family and the module that reads them as its chips
_READERS = {".cfg": ("systolic", "tetrapla.simulators.systolic.scalesim.chip")}

Inputs: TypeAlias = dict[str, Array]
"""Arrays of shape (invocations, *static shape), by input name."""


@dataclass(frozen=True)
class Options:
    """What a person may ask of a lowering; each family reads what concerns it.

    Args:
        quant: the number format, "int8", "int4", "none" or a pipeline's text; None leaves it
            to the chip's default.
        timesteps: T of a spiking target; None leaves it to the target's default.
        ideal: the spec's non-idealities are off (`Spec.ideal`).
        tuning: the path of a file of tiles, for the plans of a GPU.
        code: how a spiking target writes numbers as spikes; None for its rate code.
        chunk: what the machine works on at once; None leaves it to the machine.
        chips: how many of a noisy kind are simulated; None for `designs.SEEDS`.
    """

    quant: str | None = None
    timesteps: int | None = None
    ideal: bool = False
    tuning: str | None = None
    code: str | None = None
    chunk: int | None = None
    chips: int | None = None


@dataclass(frozen=True)
class Lowered(Generic[P]):
    """A compiled model: `module` is what the interpreter judges, `program` what runs."""

    module: Module
    program: P
    warnings: tuple[str, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)


def no_sources(program: object) -> dict[str, str | bytes]:
    """Return no files: the family emits its program and nothing beside it."""
    del program
    return {}


def no_modules(lowered: object, spec: object) -> dict[str, Module]:
    """Return no modules: the lowered one says all that the machine does."""
    del lowered, spec
    return {}


@dataclass(frozen=True)
class Ahead:
    """What is made of a target's sources before the machine sees them: machine code.

    Args:
        files: contents by name; one named as a source is in its place.
        notes: what a person should know.
        headings: of the table that is printed; `rows` is its text.
    """

    files: Mapping[str, str | bytes] = field(default_factory=dict[str, str | bytes])
    notes: tuple[str, ...] = ()
    headings: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()


def no_ahead(
    lowered: object, spec: object, files: object, architectures: Sequence[str] | None
) -> Ahead:
    """Return nothing: what the machine runs is the program itself."""
    del lowered, spec, files, architectures
    return Ahead()


def no_least_cycles(program: object, spec: object) -> dict[str, float]:
    """Return no bound: the machine's layers do no fixed work (spikes come as they come)."""
    del program, spec
    return {}


def kept_slices(program: object, spec: object, run: Run) -> Recording:
    """Return the slices that the run keeps."""
    del program, spec
    return of_slices(run)


def no_second_check(
    lowered: object, inputs: object, reference: object
) -> tuple[CrossCheck | None, str]:
    """Return nothing: what the family emits is what its machine runs."""
    del lowered, inputs, reference
    return None, ""


@dataclass(frozen=True)
class Estimate:
    """Cycles and counted actions of one invocation, an entry for each of many designs."""

    cycles: Array
    actions: Mapping[str, Array]


class ClosedForm(Protocol):
    """A model's cycles and counts as formulas over fields of a spec."""

    @property
    def fields(self) -> Mapping[str, str]:
        """By path in a spec's data, what the YAML calls a field; other fields have no part."""
        ...

    def illegal(self, columns: Mapping[str, Array]) -> Array:
        """Which combinations of values that are legal alone are no machine together."""
        ...

    def __call__(self, columns: Mapping[str, Array]) -> Estimate:
        """Of each design; `columns` has the values of all `fields`, by path."""
        ...


@dataclass(frozen=True)
class Target(Generic[S, P]):
    """A family of machines: its compiler, its simulator and how the two are checked.

    Args:
        family: name of the family; the same stem in backends/ and simulators/.
        spec_type: the pydantic model of one design point.
        default_chip: name of the chip (or path of the YAML) that the family's name stands for.
        lower: (module, spec, calibration or None, options) -> Lowered.
        run: (program, spec, inputs, key) -> Run, the simulator's own function.
        cross_check: (lowered, spec, inputs, run, reference outputs) -> CrossCheck, or None of
            a machine that computes no values of its own (a datasheet).
        stochastic: (spec, options) -> whether two seeds may give two results.
        least_cycles: (program, spec) -> by layer, the cycles that its MACs at the peak and its
            bytes at the full bandwidth take at least, and under "" those of the whole run; a
            run that claims fewer is refused.
        sources: (program) -> files that `tetrapla compile` writes beside the program; a name
            may have folders.
        modules: (lowered, spec) -> what the program means as further modules, by the stem of
            the files `compile` writes, ``.mlir`` and ``.npz``; each computes what
            `Lowered.module` does.
        forms: by word of `compile --emit`, (lowered, spec) -> files that it also writes.
        ahead: (lowered, spec, the sources, architectures of --arch or None) -> machine code.
        architectures: the names that --arch takes.
        run_chunked: `run` with the size of its chunks behind; None where it has none.
        second_check: (lowered, inputs, reference outputs) -> a check of what is emitted, or
            None, and a sentence for the report that says what was run or why it was not.
        recorded: (program, spec, run) -> what `simulate --trace` writes.
        schemes: the passes that follow a canonical model, by the formats that `lower` quantises
            to; empty where it does not.
        closed_form: (shape-only module, spec, options) -> its time and counts by formula, for
            many designs; None where the family has none.
    """

    family: str
    spec_type: type[S]
    default_chip: str
    lower: Callable[[Module, S, Inputs | None, Options], Lowered[P]]
    run: Callable[[P, S, Inputs, Key], Run]
    cross_check: Callable[[Lowered[P], S, Inputs, Run, Mapping[str, Array]], CrossCheck | None]
    stochastic: Callable[[S, Options], bool]
    least_cycles: Callable[[P, S], Mapping[str, float]] = no_least_cycles
    sources: Callable[[P], Mapping[str, str | bytes]] = no_sources
    modules: Callable[[Lowered[P], S], Mapping[str, Module]] = no_modules
    forms: Mapping[str, Callable[[Lowered[P], S], Mapping[str, str | bytes]]] = field(
        default_factory=dict[str, Callable[[Lowered[P], S], Mapping[str, str | bytes]]]
    )
    ahead: Callable[[Lowered[P], S, Mapping[str, str | bytes], Sequence[str] | None], Ahead] = (
        no_ahead
    )
    architectures: tuple[str, ...] = ()
    run_chunked: Callable[[P, S, Inputs, Key, int], Run] | None = None
    second_check: Callable[
        [Lowered[P], Inputs, Mapping[str, Array]], tuple[CrossCheck | None, str]
    ] = no_second_check
    recorded: Callable[[P, S, Run], Recording] = kept_slices
    schemes: Mapping[str, tuple[Pass, ...]] = field(default_factory=dict[str, tuple[Pass, ...]])
    closed_form: Callable[[Module, S, Options], ClosedForm] | None = None

    def __reduce__(self) -> tuple[Callable[[str], Target[Any, Any]], tuple[str]]:
        # to another process it goes by name: its functions may have none of their own
        return target, (self.family,)


AnyTarget: TypeAlias = Target[Any, Any]


def families() -> tuple[str, ...]:
    """Names of the families: the files of this folder, then outsiders' entry points."""
    own = _own()
    return (*own, *sorted(_others() - set(own)))


def target(family: str) -> AnyTarget:
    """Return the family's target.

    Raises:
        RegistryError: no backend has that name.
    """
    if family in _own():  # without asking the distributions, which takes milliseconds
        found = import_module(f"tetrapla.backends.{family}").TARGET
    else:
        found = _outsider(family)
    if not isinstance(found, Target):
        raise RegistryError(f"target '{family}' must be a Target, not {type(found).__name__}")
    return found


def targets() -> tuple[str, ...]:
    """Every name that `find` takes, sorted: the chips, then the families."""
    return (*sorted(chips()), *families())


def find(name: str, overrides: Sequence[str] = ()) -> tuple[AnyTarget, Loaded[Any]]:
    """Return the target and the design point that `name` stands for.

    Args:
        name: a chip's name, a family's (its default chip), or the path of a YAML file or of
            a SCALE-Sim .cfg.
        overrides: ``FIELD=VALUE`` settings laid over the file.

    Raises:
        RegistryError: there is no such chip, family or file.
        SpecError: the YAML is wrong, at a line and column.
    """
    if _is_path(name):
        path = Path(name)
        if path.is_dir():
            raise RegistryError(f"target '{name}' must be a YAML file, not a folder")
        if not path.is_file():
            raise RegistryError(f"target file '{name}' must exist; write one or name a chip")
        if path.suffix in _READERS:
            family, reader = _READERS[path.suffix]
            return target(family), import_module(reader).load(path, overrides)
        if is_architecture(path):
            return target("systolic"), import_module(_ARCHITECTURE).load(path, overrides)
        found = target(family_of(path, families()))
        return found, load_spec(path, found.spec_type, overrides)
    catalogue = chips()
    if name in catalogue:
        path = Path(catalogue[name])
        found = target(family_of(path, families()))
        return found, load_spec(path, found.spec_type, overrides)
    if name in families():
        found = target(name)
        return found, load_spec(found.default_chip, found.spec_type, overrides)
    known = targets()
    hint = nearest(name, known)
    close = f"{hint} there are" if hint else "; there are"
    raise RegistryError(f"no target '{name}'{close}: {', '.join(known)}")


def _outsider(family: str) -> object:
    known = families()
    if family not in known:
        there = ", ".join(known)
        raise RegistryError(f"no family '{family}'{nearest(family, known)}; there are: {there}")
    (point, *_) = (p for p in entry_points(group="tetrapla.targets") if p.name == family)
    found: object = point.load()
    return found


@cache
def _others() -> frozenset[str]:
    """Families of other packages; to ask all that are installed takes milliseconds."""
    return frozenset(point.name for point in entry_points(group="tetrapla.targets"))


@cache
def _own() -> tuple[str, ...]:
    """The built-in families: this folder's files, without the contract's."""
    found = iter_modules([str(Path(__file__).parent)])
    return tuple(sorted(m.name for m in found if not m.name.endswith("_")))


def _is_path(name: str) -> bool:
    """Whether `name` is meant as a file: it has a folder or a chip file's suffix."""
    return "/" in name or "\\" in name or name.endswith((".yaml", ".yml", *_READERS))
