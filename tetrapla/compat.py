"""`--compat scalesim`: a model's layers as SCALE-Sim 3.0 counts them, beside the true numbers.

Layers are taken one by one, as SCALE-Sim does: a convolution or a product is a matrix product
of M x N x K, a grouped or batched one several. Nothing is compiled and no value is computed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite, prod
from typing import Any

import numpy as np

from tetrapla.designs import Design
from tetrapla.frontend.scalesim import Topology
from tetrapla.ir.errors import UnsupportedError
from tetrapla.ir.graph import Node
from tetrapla.ir.module import Module
from tetrapla.ir.op import OPS
from tetrapla.origins import provenance
from tetrapla.simulators.report import Energy, LayerRow, Report
from tetrapla.simulators.report import Layers as Rows
from tetrapla.simulators.systolic.scalesim import Dataflow, Folded, Layers, folded
from tetrapla.simulators.systolic.scalesim_cfg import Config
from tetrapla.simulators.systolic.scalesim_chip import ScaleSimChip
from tetrapla.simulators.systolic.scalesim_stalls import stall_free
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
_PRODUCTS = ("nn.matmul", "qnn.matmul", "qnn.matmul_integer")


@dataclass(frozen=True)
class CompatReport(Report):
    """A report whose layers have `extras`: what SCALE-Sim says of each, and the corrections."""

    extras: tuple[Mapping[str, Any], ...] = ()

    def to_dict(self) -> dict[str, Any]:
        found = super().to_dict()
        for layer, extra in zip(found["layers"], self.extras, strict=True):
            layer.update(extra)
        total = sum(extra["cycles_corrected"] for extra in self.extras)
        return {**found, "compat": "scalesim", "cycles_corrected": total}


def report(module: Module, name: str, design: Design, said: str, batch: int) -> Report:
    """A model's layers on a design's array, as SCALE-Sim 3.0 reports them.

    Raises:
        UnsupportedError: the target is no systolic array, or a layer's products are none of
            SCALE-Sim's.
    """
    spec: object = design.chip.spec
    if not isinstance(spec, SystolicSpec):
        raise UnsupportedError(
            f"--compat scalesim must have a systolic target, not {design.label} of the family "
            f"{design.target.family}; name a systolic chip or a .cfg"
        )
    nodes = [node for node in module.graph.nodes if _macs(node)]
    config = design.chip.config if isinstance(design.chip, ScaleSimChip) else None
    layers = _layers(nodes, module, config)
    array = spec.array
    found = folded(layers, array.rows, array.cols, DATAFLOWS[array.dataflow])
    stalls = _stalls(layers, found, spec, config)
    reported = [int(cycles) for cycles in found.cycles_reported]
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
        layers=Rows(tuple(_row(nodes[i], found, i, spec) for i in range(len(nodes)))),
        area_mm2=spec.chip.area_mm2,
        warnings=tuple(_warnings(module, nodes, layers, stalls, design, config)),
        provenance=provenance(design.chip),
        extras=tuple(_extra(layers, found, stalls, i) for i in range(len(nodes))),
    )


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


def _stalls(
    layers: Layers, found: Folded, spec: SystolicSpec, config: Config | None
) -> list[int | None]:
    """0 where SCALE-Sim surely adds none; None where it may, which is not modelled."""
    if config is None or config.text("InterfaceBandwidth") == "CALC":
        return [0] * len(found.cycles)
    names = ("IfmapSramSzkB", "FilterSramSzkB", "OfmapSramSzkB")
    sizes = [1024 * config.number(name) for name in names]
    free = stall_free(layers, found, *sizes)
    return [0 if each else None for each in free]


def _row(node: Node, found: Folded, i: int, spec: SystolicSpec) -> LayerRow:
    macs, cycles = _macs(node), int(found.cycles[i])
    places = spec.array.rows * spec.array.cols
    return LayerRow(
        node.name,
        node.kind,
        int(found.cycles_reported[i]),
        macs,
        min(1.0, macs / (cycles * places)),
        "array",
        None,
    )


def _extra(
    layers: Layers, found: Folded, stalls: Sequence[int | None], i: int
) -> Mapping[str, Any]:
    """What a layer's row has beyond the contract's fields."""
    count = layers.count if isinstance(layers.count, int) else int(layers.count[i])
    return {
        "cycles_corrected": int(found.cycles[i]),
        "scalesim": {
            "layers": count,
            "stall_cycles": stalls[i],
            "overall_util_pct": _finite(found.utilization_pct[i]),
            "mapping_eff_pct": float(found.mapping_pct[i]),
            "compute_util_pct": float(found.compute_pct[i]),
            "sram_ifmap_reads": _number(found.ifmap_reads[i]),
            "sram_filter_reads": int(found.filter_reads[i]),
            "sram_ofmap_writes": int(found.ofmap_writes_reported[i]),
            "sram_ofmap_writes_corrected": int(found.ofmap_writes[i]),
            "sram_ofmap_reads_corrected": int(found.ofmap_reads[i]),
        },
    }


def _finite(value: float) -> float | None:
    return float(value) if isfinite(value) else None


def _number(value: float) -> int | float:
    return int(value) if value == int(value) else float(value)


def _warnings(
    module: Module,
    nodes: Sequence[Node],
    layers: Layers,
    stalls: Sequence[int | None],
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
    if any(stall is None for stall in stalls):
        yield (
            "--compat scalesim: InterfaceBandwidth USER adds stall cycles where operands do "
            "not fit their scratchpads; they are not modelled: stall_cycles is null there"
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
