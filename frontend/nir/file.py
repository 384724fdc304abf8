"""Loading a NIR file as a module: what NIR leaves open is chosen here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from tetrapla.frontend.names import safe
from tetrapla.frontend.nir.flat import flat
from tetrapla.frontend.nir.hdf5 import read
from tetrapla.frontend.nir.importer import Imported, imported
from tetrapla.frontend.nir.network import Field, Network, Node
from tetrapla.frontend.nir.presets import preset
from tetrapla.ir.errors import IRError, ModelError, TetraplaError

SUFFIXES = (".nir",)
TIMESTEPS = "timesteps"  # the symbolic dimension of every file
DISCRETISATION, DT_S = "tetrapla.discretisation", "tetrapla.dt_s"  # of a graph's metadata
USUAL_DT_S = 1e-4  # of the files in NIR's repository


def load(
    path: str | Path,
    dims: Mapping[str, int] | None = None,
    batch: int = 1,
    *,
    discretisation: str | None = None,
    dt_s: float | None = None,
    repair: bool = False,
) -> Imported:
    """Read a NIR file.

    Args:
        path: the file.
        dims: ``timesteps``, which a NIR graph does not say.
        batch: inferences side by side; inputs and outputs are [batch, timesteps, ...].
        discretisation: of `PRESETS`; what `annotated` wrote into the file, else euler.
        dt_s: the timestep; what `annotated` wrote into the file, else 0.1 ms.
        repair: take a node without edges for the only one that edges name in vain.

    Raises:
        ModelError: the file cannot be read, breaks a rule of NIR, or has no duration.
        UnsupportedError: nodes of unknown types (all are listed), or h5py is missing.
        RegistryError: there is no such discretisation.
    """
    path = Path(path)
    network = read(path)
    try:
        plain = flat(network, repair=repair)
        held = plain.metadata
        step_s = float(dt_s if dt_s is not None else _number(held.get(DT_S), USUAL_DT_S))
        if not 0 < step_s < float("inf"):
            raise ModelError(f"dt_s must be positive and finite, not {step_s}; times are in s")
        rule = preset(discretisation or str(held.get(DISCRETISATION, "euler")))
        timesteps = _duration(plain, dict(dims or {}), step_s)
        return imported(plain, safe(path.stem), rule, step_s, timesteps, batch)
    except TetraplaError as error:
        kind = ModelError if isinstance(error, IRError) else type(error)
        raise kind(f"{path}: {error}") from None


def annotated(network: Network, discretisation: str, dt_s: float) -> Network:
    """The graph with its discretisation in the metadata, where `load` finds it."""
    preset(discretisation)
    held: dict[str, Field] = {
        **network.metadata,
        DISCRETISATION: discretisation,
        DT_S: np.array(dt_s),
    }
    return Network(network.nodes, network.edges, held, network.version)


def _number(value: Field | None, default: float) -> float:
    return default if value is None or isinstance(value, str) else float(value.ravel()[0])


def _duration(network: Network, dims: dict[str, int], dt_s: float) -> int:
    timesteps = dims.pop(TIMESTEPS, None)
    if dims:
        raise ModelError(
            f"a NIR graph has the dimension {TIMESTEPS} alone, not {', '.join(sorted(dims))}"
        )
    if timesteps is None:
        raise ModelError(
            f"nir: the graph must have a duration, not none: its neurons never stop; give "
            f"--dim {TIMESTEPS}=N, or --timesteps N with a target{_advice(network, dt_s)}"
        )
    if timesteps < 1:
        raise ModelError(f"{TIMESTEPS} must be 1 or more, not {timesteps}")
    return timesteps


def _advice(network: Network, dt_s: float) -> str:
    """How long five of the longest time constant are."""
    taus = [
        float(np.max(node.array(field)))
        for node in network.nodes.values()
        if isinstance(node, Node)
        for field in ("tau", "tau_syn", "tau_mem")
        if field in node.fields
    ]
    if not taus:
        return ""
    return (
        f" (its longest time constant is {max(taus) * 1e3:g} ms, so five of it at "
        f"{dt_s * 1e3:g} ms a timestep are {round(5 * max(taus) / dt_s)})"
    )
