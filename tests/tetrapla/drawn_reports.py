"""Results of few layers and points, as `plot` reads them."""

from __future__ import annotations

from typing import Any


def layer(
    name: str, cycles: float, macs: int, used: float | None, **more: Any
) -> dict[str, Any]:
    held = {"name": name, "op": "nn.conv2d", "cycles": cycles, "macs": macs}
    return {**held, "utilization_frac": used, "bound_by": "dma", "energy_pj": 5.0, **more}


def report(target: str = "one", **more: Any) -> dict[str, Any]:
    """A report of two layers at 1 GHz, and what else a test needs."""
    layers = [
        layer("conv", 400, 8000, 0.5, traffic_bytes=2000),
        layer("pool", 100, 0, None, traffic_bytes=64),
    ]
    return {
        "schema": "tetrapla.report/1",
        "model": "net",
        "target": target,
        "family": "systolic",
        "command": f"tetrapla simulate net.onnx --target {target}",
        "seed": 0,
        "batch": 1,
        "cycles": 500,
        "time_s": 5e-7,
        "energy_pj": {"total": 10.0, "by_unit": {"mac": 6.0, "static": 4.0}, "range": None},
        "area_mm2": 2.5,
        "accuracy": None,
        "cross_check": None,
        "layers": layers,
        "warnings": [],
        "provenance": [],
        "roofline": {"peak_macs_per_s": 4e10, "bandwidth_bytes_per_s": 1e10, "sources": {}},
        **more,
    }


SIGHT = {
    "timeline": [["DMA", "LDW conv", 0.0, 1e-7], ["MM", "MM conv", 1e-7, 5e-7]],
    "rasters": [
        {"name": "pop", "neurons": 9, "shown": [0, 4], "start": 0, "spikes": [[0, 1], [3, 0]]}
    ],
}
SPIKING = report("loihi", sight=SIGHT)


def compared(*reports: dict[str, Any]) -> dict[str, Any]:
    return {"schema": "tetrapla.compare/1", "reports": list(reports)}


def swept(count: int = 4) -> dict[str, Any]:
    points = []
    for n in range(count):
        # faster costs more; the last is worse than the first in both
        time_s, pj = (9e-6, 100.0) if n == count - 1 else (1e-6 * (count - n), 10.0 * (n + 1))
        energy = {"total": pj, "by_unit": {"mac": pj}, "range": None}
        point = report(time_s=time_s, energy_pj=energy)
        points.append({"settings": {"rows": str(n)}, "pareto": n < count - 1, "report": point})
    return {
        "schema": "tetrapla.sweep/1",
        "objectives": ["energy", "latency"],
        "points": points,
    }
