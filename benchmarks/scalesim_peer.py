"""SCALE-Sim 3.0.0 on a topology, a line of JSON a layer; run by the interpreter that has it.

``python scalesim_peer.py TOPOLOGY CONFIG conv|gemm``; it imports nothing of this project, whose
NumPy is newer than SCALE-Sim's. The tool's own Python API, without traces: what is timed is the
simulation of a layer and its report, in CPU seconds of the process.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from time import process_time
from typing import Any

REPORTED = {
    "cycles": "total_cycles",
    "stall_cycles": "stall_cycles",
    "overall_util_pct": "overall_util",
    "mapping_eff_pct": "mapping_eff",
    "compute_util_pct": "compute_util",
    "ifmap_reads": "ifmap_sram_reads",
    "filter_reads": "filter_sram_reads",
    "ofmap_writes": "ofmap_sram_writes",
    "cycles_incl_prefetch": "overall_cycles",
    "dram_ifmap_reads": "ifmap_dram_reads",
    "dram_filter_reads": "filter_dram_reads",
    "dram_ofmap_writes": "ofmap_dram_writes",
    "dram_ifmap_words_per_cycle": "avg_ifmap_dram_bw",
    "dram_filter_words_per_cycle": "avg_filter_dram_bw",
    "dram_ofmap_words_per_cycle": "avg_ofmap_dram_bw",
}


def main(topology: str, config: str, kind: str) -> None:
    """Run every layer alone."""
    names = ("scale_config", "topology_utils", "layout_utils", "single_layer_sim")
    tool: list[Any] = [import_module(f"scalesim.{name}") for name in names]
    settings: Any = tool[0].scale_config()
    settings.read_conf_file(config)
    table: Any = tool[1].topologies()
    table.load_arrays(topology, mnk_inputs=kind == "gemm")
    table.topo_calc_hyperparams()
    unused: Any = tool[2].layouts()
    for number in range(table.get_num_layers()):
        start = process_time()
        layer: Any = tool[3].single_layer_sim()
        layer.set_params(number, settings, table, unused, verbose=False)
        layer.run()
        layer.calc_report_data()
        found = {name: float(getattr(layer, held)) for name, held in REPORTED.items()}
        found["cpu_s"] = process_time() - start
        print(json.dumps({"layer": table.topo_arrays[number][0], **found}), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
