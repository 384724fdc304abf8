"""`--compat scalesim`: a model's layers as SCALE-Sim 3.0 counts them, beside the true numbers.

Layers are taken one by one, as SCALE-Sim does: a convolution or a product is a matrix product
of M x N x K, a grouped or batched one several. Nothing is compiled and no value is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np

from tetrapla.designs import Design
from tetrapla.frontend.scalesim import Topology
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.origins import provenance
from tetrapla.simulators.layers_ import LayerRow
from tetrapla.simulators.layers_ import Layers as Rows
from tetrapla.simulators.report import Energy, Report
from tetrapla.simulators.systolic.scalesim.cfg import Config
from tetrapla.simulators.systolic.scalesim.chip import ScaleSimChip
from tetrapla.simulators.systolic.scalesim.closed_form import Dataflow, Folded, Layers, folded
from tetrapla.simulators.systolic.scalesim.demand import Windows
from tetrapla.simulators.systolic.scalesim.memory import traffic
from tetrapla.simulators.systolic.scalesim.stalls import stall_free
from tetrapla.simulators.systolic.scalesim.traffic import Scratchpads, Traffic
from tetrapla.simulators.systolic.spec import SystolicSpec

DATAFLOWS: Mapping[str, Dataflow] = {
    "output_stationary": "os",
    "weight_stationary": "ws",
    "input_stationary": "is",
}
NO_ENERGY = "--compat scalesim: SCALE-Sim gives no energy, so energy_pj is null"
MEANING = (
    "--compat scalesim: cycles, reads and writes are those that SCALE-Sim 3.0 reports, one "
    "cycle a layer too few; the corrected ones are beside them"
)
_CONVOLUTIONS = ("nn.conv2d", "nn.conv3d", "qnn.conv2d", "qnn.conv_integer")
_MOVED = (
    "cycles_incl_prefetch",
    "dram_ifmap_reads",
    "dram_filter_reads",
    "dram_ofmap_writes",
    "dram_ifmap_words_per_cycle",
    "dram_filter_words_per_cycle",
    "dram_ofmap_words_per_cycle",
)
_PRODUCTS = ("nn.matmul", "qnn.matmul", "qnn.matmul_integer")


@dataclass(frozen=True)
class _Wait:
    """A layer's stall cycles, None where they are not modelled, and its cycles with them."""

    stalls: int | None
    cycles: int


@dataclass(frozen=True)
class _Memories:
    """What SCALE-Sim's memory model is asked, a layer an entry; asked when a report is shown.

    Attributes:
        windows: a layer's addresses; None where they are not modelled.
        pads: None where there are no scratchpads, or nobody wants to know.
    """

    windows: tuple[Windows | None, ...]
    rows: int
    cols: int
    dataflow: Dataflow
    pads: Scratchpads | None

    def traffic(self, i: int) -> Traffic | None:
        windows = self.windows[i]
        if windows is None or self.pads is None:
            return None
        return traffic(windows, self.rows, self.cols, self.dataflow, self.pads)


@dataclass(frozen=True)
class CompatReport(Report):
    """A report whose layers have `extras`: what SCALE-Sim says of each, and the corrections."""

    extras: tuple[Mapping[str, Any], ...] = ()
    memories: _Memories | None = None

    def to_dict(self, *, sight: bool = True) -> dict[str, Any]:
        found = super().to_dict(sight=sight)
        for i, (layer, extra) in enumerate(zip(found["layers"], self.extras, strict=True)):
            moved = None if self.memories is None else self.memories.traffic(i)
            said = {**extra["scalesim"], **_moved(moved, extra["scalesim"]["layers"])}
            layer.update({**extra, "scalesim": said})
        total = sum(extra["cycles_corrected"] for extra in self.extras)
        return {**found, "compat": "scalesim", "cycles_corrected": total}


def report(
    module: Module, name: str, design: Design, said: str, batch: int, *, brief: bool = False
) -> Report:
    """A model's layers on a design's array, as SCALE-Sim 3.0 reports them.

    Args:
        module: the model.
        name: what the report calls it.
        design: the machine.
        said: the command to record.
        batch: of the model's inputs.
        brief: whether to leave out the traffic of the DRAM, which takes seconds.

    Raises:
        UnsupportedError: the target is no systolic array, or a layer's products are none of
            SCALE-Sim's.
    """
    spec: object = design.chip.spec
    if not isinstance(spec, SystolicSpec):
        raise needs_systolic(design)
    nodes, config, layers = layers_of(module, design)
    array = spec.array
    found = folded(layers, array.rows, array.cols, DATAFLOWS[array.dataflow])
    memories = _memories(nodes, module, layers, spec, config)
    waits = _waits(layers, found, memories, config)
    rows = tuple(_row(nodes[i], found, i, spec, waits[i]) for i in range(len(nodes)))
    reported = [row.cycles for row in rows]
    return CompatReport(
        model=name,
        target=design.label,
        family=design.target.family,
        command=said,
        seed=0,
        batch=batch,
        cycles=sum(reported),
        time_s=sum(reported) / spec.clock_hz,
        energy=Energy(None, {}),
        layers=Rows(rows),
        area_mm2=spec.chip.area_mm2,
        warnings=tuple(_warnings(module, nodes, layers, waits, design, config)),
        provenance=provenance(design.chip),
        extras=tuple(
            _extra(layers, found, waits[i], array.rows * array.cols, i)
            for i in range(len(nodes))
        ),
        memories=None if brief else memories,
    )


def needs_systolic(design: Design) -> UnsupportedError:
    """What to say of a machine that is no systolic array."""
    return UnsupportedError(
        f"--compat scalesim must have a systolic target, not {design.label} of the family "
        f"{design.target.family}; name a systolic chip or a .cfg"
    )


def layers_of(module: Module, design: Design) -> tuple[list[Node], Config | None, Layers]:
    """The nodes that SCALE-Sim has layers for, the .cfg if the design is of one, the layers.

    Raises:
        UnsupportedError: a layer's products are none of SCALE-Sim's.
    """
    nodes = [node for node in module.graph.nodes if _macs(node)]
    config = design.chip.config if isinstance(design.chip, ScaleSimChip) else None
    return nodes, config, _layers(nodes, module, config)


def _layers(nodes: Sequence[Node], module: Module, config: Config | None) -> Layers:
    odd = [node for node in nodes if node.kind not in (*_CONVOLUTIONS, *_PRODUCTS)]
    if odd or not nodes:
        names = ", ".join(f"{node.name} ({node.kind})" for node in odd[:4])
        raise UnsupportedError(
            f"--compat scalesim must have layers that are convolutions or matrix products, "
            f"not {names or 'none'}; drop --compat"
        )
    sizes = np.array([_sizes(node) for node in nodes], np.int64).T
    layers = Layers(*sizes)
    if not _sparse(module, config):
        return layers
    held = module.sparsity if isinstance(module, Topology) else {}
    ratios = np.array([held.get(node.name, (1, 1)) for node in nodes], np.int64).T
    return Layers(*sizes, *ratios)


def _sizes(node: Node) -> tuple[int, int, int, int]:
    """M, N, K and how many products of these sizes a layer is."""
    weights, result = node.operands[1].shape, node.results[0]
    if node.kind in _CONVOLUTIONS:
        made, per_window = weights[0], prod(weights[1:])
        groups = _whole(node.attributes.get("groups", 1))
        return result.elements // made, made // groups, per_window, groups
    count = prod(weights[:-2])
    rows = prod(result.shape[:-1]) if count == 1 else result.shape[-2]
    return rows, weights[-1], weights[-2], 1 if count == 1 else prod(result.shape[:-2])


def _whole(value: object) -> int:
    assert isinstance(value, int), "the dialect says so"
    return value


def _macs(node: Node) -> int:
    return OPS[node.kind].macs(node.operands, node.results[0]) or 0


def _sparse(module: Module, config: Config | None) -> bool:
    return bool(
        isinstance(module, Topology)
        and module.sparsity
        and config is not None
        and config.flag("SparsitySupport")
    )


def _memories(
    nodes: Sequence[Node],
    module: Module,
    layers: Layers,
    spec: SystolicSpec,
    config: Config | None,
) -> _Memories:
    array = spec.array
    windows = [None if layers.is_sparse else _windows(node, module) for node in nodes]
    pads = None if config is None else _scratchpads(config, array.cols)
    return _Memories(tuple(windows), array.rows, array.cols, DATAFLOWS[array.dataflow], pads)


def _scratchpads(config: Config, cols: int) -> Scratchpads | None:
    """None where SCALE-Sim takes another memory model than its own."""
    keys = "IfmapSramSzkB", "FilterSramSzkB", "OfmapSramSzkB"
    ifmap, filters, ofmap = (1024 * config.number(key) for key in keys)
    if config.text("InterfaceBandwidth") == "CALC":
        return Scratchpads.estimating(ifmap, filters, ofmap, cols)
    special = "IfmapCustomLayout", "FilterCustomLayout", "UseRamulatorTrace"
    if any(config.flag(key) for key in special):
        return None
    ports = config.number("IfmapSRAMBankBandwidth"), config.number("FilterSRAMBankBandwidth")
    return Scratchpads(ifmap, filters, ofmap, *ports, config.bandwidth[0])


def _waits(
    layers: Layers, found: Folded, memories: _Memories, config: Config | None
) -> list[_Wait]:
    """What each layer waits for the DRAM."""
    never = [_Wait(0, int(each)) for each in found.cycles_reported]
    if config is None or config.text("InterfaceBandwidth") == "CALC":
        return never
    pads = memories.pads
    if pads is None:
        return [_Wait(None, each.cycles) for each in never]
    free = stall_free(layers, found, pads.ifmap_words, pads.filter_words, pads.ofmap_words)
    waits: list[_Wait] = []
    for i, wait in enumerate(never):
        moved, count = None if free[i] else memories.traffic(i), _count(layers, i)
        if moved is not None:
            wait = _Wait(count * moved.stall_cycles, count * moved.cycles)
        waits.append(wait if free[i] or moved is not None else _Wait(None, wait.cycles))
    return waits


def _windows(node: Node, module: Module) -> Windows | None:
    """A layer's addresses as SCALE-Sim would have them; None where it has no such layer."""
    x, w, result = node.operands[0].shape, node.operands[1].shape, node.results[0].shape
    if node.kind in _PRODUCTS:
        rows, columns, taps, _ = _sizes(node)
        return Windows(rows, taps, 1, taps, 1, columns, 1)
    strides, dilations = node.attributes.get("strides"), node.attributes.get("dilations")
    if len(w) != 4 or x[0] != 1 or dilations != (1, 1) or not isinstance(strides, tuple):
        return None
    stride = _whole(strides[0])
    if strides != (stride, stride):
        return None
    height, width = x[2:]
    if not isinstance(module, Topology):
        # padding is part of an ifmap, and a rest that no window reaches is not
        height, width = (
            (size - 1) * stride + taps for size, taps in zip(result[2:], w[2:], strict=True)
        )
    groups = _whole(node.attributes.get("groups", 1))
    return Windows(height, width, w[2], w[3], w[1], w[0] // groups, stride)


def _row(node: Node, found: Folded, i: int, spec: SystolicSpec, wait: _Wait) -> LayerRow:
    macs, cycles = _macs(node), int(found.cycles[i])
    places = spec.array.rows * spec.array.cols
    return LayerRow(
        node.name,
        node.kind,
        wait.cycles,
        macs,
        min(1.0, macs / (cycles * places)),
        "dma" if wait.stalls and wait.stalls > cycles else "array",
        None,
    )


def _extra(
    layers: Layers, found: Folded, wait: _Wait, places: int, i: int
) -> Mapping[str, Any]:
    """What a layer's row has beyond the contract's fields."""
    total = wait.cycles
    used = 100 * int(layers.macs[i]) / (total * places) if total else None
    reads = found.ifmap_reads[i], found.filter_reads[i], found.ofmap_writes_reported[i]
    ifmap, filters, ofmap = (_number(each) / total if total else None for each in reads)
    return {
        "cycles_corrected": int(found.cycles[i]),
        "scalesim": {
            "layers": _count(layers, i),
            "stall_cycles": wait.stalls,
            "overall_util_pct": used,
            "mapping_eff_pct": float(found.mapping_pct[i]),
            "compute_util_pct": float(found.compute_pct[i]),
            "sram_ifmap_reads": _number(found.ifmap_reads[i]),
            "sram_filter_reads": int(found.filter_reads[i]),
            "sram_ofmap_writes": int(found.ofmap_writes_reported[i]),
            "sram_ofmap_writes_corrected": int(found.ofmap_writes[i]),
            "sram_ofmap_reads_corrected": int(found.ofmap_reads[i]),
            "sram_ifmap_words_per_cycle": ifmap,
            "sram_filter_words_per_cycle": filters,
            "sram_ofmap_words_per_cycle": ofmap,
        },
    }


def _moved(moved: Traffic | None, count: int) -> Mapping[str, int | float | None]:
    """Between the scratchpads and the DRAM, of so many equal layers of SCALE-Sim."""
    if moved is None:
        return dict.fromkeys(_MOVED)
    given = (
        count * moved.cycles_with_prefetch,
        *(count * each.words for each in (moved.ifmap, moved.filter, moved.ofmap)),
        *(each.words_per_cycle for each in (moved.ifmap, moved.filter, moved.ofmap)),
    )
    return dict(zip(_MOVED, given, strict=True))


def _count(layers: Layers, i: int) -> int:
    return layers.count if isinstance(layers.count, int) else int(layers.count[i])


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else float(value)


def _warnings(
    module: Module,
    nodes: Sequence[Node],
    layers: Layers,
    waits: Sequence[_Wait],
    design: Design,
    config: Config | None,
) -> Iterable[str]:
    yield MEANING
    if config is None:
        yield NO_ENERGY
    yield from design.chip.warnings
    others = sorted({node.kind for node in module.graph.nodes} - {node.kind for node in nodes})
    if others:
        yield f"--compat scalesim: SCALE-Sim has no layer for {', '.join(others)}: no cycles"
    if not isinstance(layers.count, int) and int(layers.count.max(initial=1)) > 1:
        yield (
            "--compat scalesim: a depthwise, grouped or batched layer is several layers of "
            "SCALE-Sim (scalesim.layers); its numbers are their sum"
        )
    if any(wait.stalls is None for wait in waits):
        yield (
            "--compat scalesim: the stall cycles of some layers under InterfaceBandwidth USER "
            "are not modelled: stall_cycles is null there, and cycles are without them"
        )
    if isinstance(module, Topology) and module.sparsity and not _sparse(module, config):
        yield (
            "--compat scalesim: without SparsitySupport SCALE-Sim counts N:M rows as dense, "
            "and so does this"
        )
    if config is not None and config.settings.get("OptimizedMapping"):
        if config.flag("OptimizedMapping"):
            yield "--compat scalesim: OptimizedMapping is not modelled; N:M is taken by layer"
    units = design.chip.spec.array.units
    if units > 1:
        yield f"--compat scalesim: SCALE-Sim has one array, {design.label} {units} alike"
