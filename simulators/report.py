"""What a run is, what it costs, and the report that a person reads.

A machine returns a `Run`: values, cycles and counted actions. `assemble` prices it, checks
what must hold of every run (`InternalError` otherwise) and gives the `Report`, whose JSON is
the public contract ``tetrapla.report/1``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from html import escape
from math import isfinite
from typing import Any, Literal

from tetrapla.ir.graph import Array
from tetrapla.simulators.json_ import InternalError as InternalError
from tetrapla.simulators.json_ import plain_of
from tetrapla.simulators.json_ import to_json as to_json
from tetrapla.simulators.layers_ import LayerRow, Layers, shown
from tetrapla.simulators.leaves_ import ASSUMED
from tetrapla.simulators.price_ import STATIC, energy_range, power_warnings, weak_warnings
from tetrapla.simulators.price_ import Energy as Energy
from tetrapla.simulators.price_ import price as price
from tetrapla.simulators.price_ import standing as standing
from tetrapla.simulators.price_ import summed as summed
from tetrapla.simulators.roof_ import Roof
from tetrapla.simulators.scene_ import Scene, Sight, plain
from tetrapla.simulators.scene_ import Slice as Slice
from tetrapla.simulators.spec_ import Provenance
from tetrapla.simulators.yield_ import Yield

SCHEMA = "tetrapla.report/1"
_TRAFFIC = ("dram.read_byte", "dram.write_byte")


@dataclass(frozen=True)
class LayerRun:
    """One layer of one invocation; `actions` counts ``unit.action``, e.g. ``mac.int8``."""

    name: str
    op: str
    cycles: float
    macs: int
    utilization_frac: float | None
    bound_by: str
    actions: Mapping[str, int | float]
    moved_bytes: float | None = None  # off the chip, where no action counts them


@dataclass(frozen=True)
class Run:
    r"""What a machine did in ONE invocation (the mean, where several were run).

    Attributes:
        outputs: values by output name, shape (invocations, \*shape); may be empty.
        layers: in order of execution; their actions do not include those in `actions`.
        cycles: of the whole invocation; layers may overlap, so not their sum.
        actions: what belongs to no layer, ``static.second``.
        scene: what can be drawn of it.
        interval_s: after which the next invocation may start, in a pipeline of layers.
    """

    outputs: Mapping[str, Array]
    layers: tuple[LayerRun, ...]
    cycles: float
    time_s: float
    actions: Mapping[str, int | float]
    warnings: tuple[str, ...] = ()
    trace: tuple[Slice, ...] = ()
    scene: Scene | None = field(default=None, compare=False, repr=False)
    interval_s: float | None = None


@dataclass(frozen=True)
class CrossCheck:
    """The machine held against the interpreter on the same lowered module."""

    kind: Literal["bit_exact", "tolerance", "statistical"]
    mismatches: int | None
    max_rel_error: float | None
    bound: float | None
    passed: bool


@dataclass(frozen=True)
class Accuracy:
    """Shares of right answers, 0..1: the float model's, and the machine's over its seeds."""

    reference: float
    target: float
    target_std: float | None
    seeds: int
    samples: int


@dataclass(frozen=True)
class Report:
    """The result of a model on a target; its figures are of one invocation of `batch`."""

    model: str
    target: str
    family: str
    command: str
    seed: int
    batch: int
    cycles: float
    time_s: float
    energy: Energy
    layers: Layers
    energy_range_pj: tuple[float, float] | None = None
    area_mm2: float | None = None
    accuracy: Accuracy | None = None
    cross_check: CrossCheck | None = None
    warnings: tuple[str, ...] = ()
    provenance: tuple[Provenance, ...] = ()
    second_check: CrossCheck | None = None
    outputs: Mapping[str, Array] = field(
        default_factory=dict[str, Array], compare=False, repr=False
    )
    scene: Scene | None = field(default=None, compare=False, repr=False)
    interval_s: float | None = None
    chip_yield: Yield | None = None
    roof: Roof | None = None
    trace: tuple[Slice, ...] = field(default=(), compare=False, repr=False)
    seen: Mapping[str, Any] | None = field(default=None, compare=False, repr=False)
    more: Mapping[str, Any] = field(default_factory=dict[str, Any])  # what a command adds

    @cached_property
    def sight(self) -> Sight | None:
        """What there is to draw of the machine, computed when it is first asked for."""
        return None if self.scene is None else self.scene.look()

    @cached_property
    def drawn(self) -> Mapping[str, Any]:
        """The same as plain data, with the timeline; `seen` where the report was read."""
        if self.seen is not None:
            return self.seen
        return plain(self.sight, self.trace, self.time_s / self.cycles if self.cycles else 0.0)

    def to_dict(self, *, sight: bool = True) -> dict[str, Any]:
        """Return the public contract's fields, as plain Python values, in its order.

        `second_check` (a GPU's emitted kernels), `yield` (of noisy chips), `roofline` and
        `sight` are there only when they are known; `sight`, which takes about as long as one
        inference, only where it is asked for.
        """
        late = {"second_check": self.second_check, "yield": self.chip_yield}
        extra: dict[str, Any] = {
            name: asdict(each) for name, each in late.items() if each is not None
        }
        if self.interval_s is not None:
            extra["interval_s"] = self.interval_s
        if self.roof is not None:
            extra["roofline"] = self.roof.to_dict()
        extra |= self.more
        if sight and self.drawn:
            extra["sight"] = dict(self.drawn)
        raw = {
            "schema": SCHEMA,
            "model": self.model,
            "target": self.target,
            "family": self.family,
            "command": self.command,
            "seed": self.seed,
            "batch": self.batch,
            "cycles": _count(self.cycles),
            "time_s": self.time_s,
            "energy_pj": {
                "total": self.energy.total_pj,
                "by_unit": dict(sorted(self.energy.by_unit.items())),
                "range": self.energy_range_pj,
            },
            "area_mm2": self.area_mm2,
            "accuracy": None if self.accuracy is None else asdict(self.accuracy),
            "cross_check": None if self.cross_check is None else asdict(self.cross_check),
            "layers": [{**asdict(row), "cycles": _count(row.cycles)} for row in self.layers],
            "warnings": self.warnings,
            "provenance": [asdict(entry) for entry in self.provenance],
            **extra,
        }
        plain: dict[str, Any] = plain_of(raw)
        return plain

    def to_json(self) -> str:
        """Return the contract's JSON: the same run gives the same bytes."""
        return to_json(self.to_dict())

    def _repr_html_(self) -> str:
        rows = {
            "time": f"{self.time_s:.6g} s",
            "cycles": f"{self.cycles:.6g}",
            "energy": shown(self.energy.total_pj) + " pJ",
            "area": shown(self.area_mm2) + " mm2",
            "cross-check": _verdict(self.cross_check),
        }
        head = f"<h3>{escape(self.model)} on {escape(self.target)}</h3>"
        body = "".join(
            f"<tr><th>{name}</th><td>{text}</td></tr>" for name, text in rows.items()
        )
        notes = "".join(f"<li>{escape(text)}</li>" for text in self.warnings)
        return f"{head}<table>{body}</table><ul>{notes}</ul>{self.layers.to_html()}"


def assemble(
    run: Run,
    *,
    model: str,
    target: str,
    family: str,
    command: str,
    cost: Mapping[str, float | None],
    seed: int = 0,
    batch: int = 1,
    macs: int | None = None,
    least_cycles: Mapping[str, float] | None = None,
    ranges: Mapping[str, tuple[float, float]] | None = None,
    area_mm2: float | None = None,
    tdp_w: float | None = None,
    accuracy: Accuracy | None = None,
    chip_yield: Yield | None = None,
    cross_check: CrossCheck | None = None,
    second_check: CrossCheck | None = None,
    roof: Roof | None = None,
    warnings: Sequence[str] = (),
    provenance: Sequence[Provenance] = (),
) -> Report:
    """Price a run, check it and return its report.

    `macs` is the lowered model's for one invocation, `None` where they are not the machine's
    work (spikes); `least_cycles` is, by layer name, the bound from MACs and bytes, and under
    the name "" that of the whole run. `ranges` is between which picojoules a price lies, by
    action; a run whose average power is over `tdp_w` says so in a warning.

    Raises:
        SpecError: an action that `cost` does not list.
        InternalError: a run that breaks an invariant.
    """
    actions = summed([*(layer.actions for layer in run.layers), run.actions])
    energy = price(actions, cost)
    layers = Layers(tuple(_row(layer, cost) for layer in run.layers))
    check_invariants(run, macs=macs, energy=energy, least_cycles=least_cycles)
    return Report(
        model=model,
        target=target,
        family=family,
        command=command,
        seed=seed,
        batch=batch,
        cycles=run.cycles,
        time_s=run.time_s,
        energy=energy,
        layers=layers,
        energy_range_pj=energy_range(actions, cost, ranges or {}),
        area_mm2=area_mm2,
        accuracy=accuracy,
        cross_check=cross_check,
        warnings=(
            *warnings,
            *run.warnings,
            *energy.warnings,
            *power_warnings(energy, run.time_s, tdp_w),
            *weak_warnings(actions, cost, _guessed(provenance)),
        ),
        provenance=tuple(provenance),
        second_check=second_check,
        outputs=run.outputs,
        scene=run.scene,
        interval_s=run.interval_s,
        chip_yield=chip_yield,
        roof=roof,
        trace=run.trace,
    )


def _guessed(provenance: Sequence[Provenance]) -> list[str]:
    """The actions whose price is assumed, the static power's included."""
    fields = [entry.field for entry in provenance if entry.grade == ASSUMED]
    prices = [name.removeprefix("cost.") for name in fields if name.startswith("cost.")]
    return [*prices, *([STATIC] if "chip.static_power" in fields else [])]


def check_invariants(
    run: Run,
    *,
    macs: int | None = None,
    energy: Energy | None = None,
    least_cycles: Mapping[str, float] | None = None,
) -> None:
    """Raise `InternalError` where a run breaks what holds of every run.

    Everything is finite; counts, cycles, time and energy are not negative; a layer takes at
    least `least_cycles`, and so does the run (""); utilisation is at most 1; the layers' MACs
    are the model's.
    """
    _at_least("cycles of the run", run.cycles, (least_cycles or {}).get("", 0))
    _at_least("time_s of the run", run.time_s, 0)
    for action, count in run.actions.items():
        _at_least(f"{action} of the run", count, 0)
    for layer in run.layers:
        _at_least(
            f"cycles of {layer.name}", layer.cycles, (least_cycles or {}).get(layer.name, 0)
        )
        _at_least(f"macs of {layer.name}", layer.macs, 0)
        for action, count in layer.actions.items():
            _at_least(f"{action} of {layer.name}", count, 0)
        if layer.utilization_frac is not None:
            _at_least(f"utilization_frac of {layer.name}", layer.utilization_frac, 0)
            if layer.utilization_frac > 1:
                raise InternalError(
                    f"utilization_frac of {layer.name} must be at most 1, "
                    f"not {layer.utilization_frac}"
                )
    if energy is not None:
        for unit, energy_pj in {**energy.by_unit, "the total": energy.total_pj}.items():
            if energy_pj is not None:
                _at_least(f"energy_pj of {unit}", energy_pj, 0)
    done = sum(layer.macs for layer in run.layers)
    if macs is not None and done != macs:
        raise InternalError(f"macs of the layers must be the model's {macs}, not {done}")


def _row(layer: LayerRun, cost: Mapping[str, float | None]) -> LayerRow:
    return LayerRow(
        name=layer.name,
        op=layer.op,
        cycles=layer.cycles,
        macs=layer.macs,
        utilization_frac=layer.utilization_frac,
        bound_by=layer.bound_by,
        energy_pj=price(layer.actions, cost).total_pj,
        traffic_bytes=_traffic_bytes(layer),
    )


def _traffic_bytes(layer: LayerRun) -> float | None:
    """What a layer moves from and to the memory beside the chip; None where there is none."""
    if layer.moved_bytes is not None:
        return layer.moved_bytes
    found = [layer.actions[name] for name in _TRAFFIC if name in layer.actions]
    return sum(found) if found else None


def _at_least(thing: str, value: float, least: float) -> None:
    if not isfinite(value):
        raise InternalError(f"{thing} must be finite, not {value}")
    # a bound is a sum or quotient of a few floats, each rounded by 2^-53
    if value < least * (1 - 2**-49):
        raise InternalError(f"{thing} must be at least {least}, not {value}")


def _count(value: float) -> int | float:
    # a mean of counts is written as a whole number where it is one
    return int(value) if isfinite(value) and value == int(value) else value


def _verdict(check: CrossCheck | None) -> str:
    if check is None:
        return "n/a"
    return f"{check.kind.replace('_', ' ')}: {'passed' if check.passed else 'FAILED'}"
