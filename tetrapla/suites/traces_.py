"""Learning and platform rules on recorded inputs: what differs from the tools' traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from tetrapla.frontend.nir.flat import flat
from tetrapla.frontend.nir.importer import imported
from tetrapla.frontend.nir.network import Network, Node
from tetrapla.frontend.nir.presets import preset
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import Array
from tetrapla.ir.interpret import evaluate
from tetrapla.ir.spike.loihi import LAVA, Sign, mantissas
from tetrapla.ir.spike.plasticity import Draw, Rule, State, Trace, learn, note, products
from tetrapla.validation import Row

_LAVA = "lava-nc 0.10.0, LearningDense, fixed point; tetrapla/data/golden/neuro/README.md"
_NIR = "{}; tetrapla/data/golden/neuro/README.md"
_DT_S = 1e-4
_LIF = {"tau": 2.5e-3, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1}
_CUBA = {"tau_syn": 1.2e-3, "tau_mem": 4e-3, "r": 40.0, "v_leak": 0.0, "v_threshold": 4.0}
# by platform: the neuron, the preset, and the array of the recorded spikes
_PLATFORMS = (
    ("LIF", "norse", "norse_s", "norse 1.1.0"),
    ("LIF", "snntorch", "snntorch_lif_s", "snntorch 1.0.0"),
    ("CubaLIF", "snntorch", "snntorch_cubalif_s", "snntorch 1.0.0"),
    ("LIF", "sinabs", "sinabs_s", "sinabs 3.1.3"),
)


def rows(golden: Path) -> Iterator[Row]:
    """Weights and traces of Lava's learning, then spikes of the platforms that read NIR."""
    held = _arrays(golden / "neuro" / "lava_stdp.npz")
    for k in range(sum(name.endswith("_name") for name in held)):
        case = {n[3:]: a for n, a in held.items() if n.startswith(f"c{k}_")}
        wrong = _learnt(case)
        yield _row(f"lava_stdp {case['name']}", "weight_mismatches", wrong, _LAVA)
    held = _arrays(golden / "neuro" / "nir_presets.npz")
    for kind, rule, key, tool in _PLATFORMS:
        wrong = int(np.count_nonzero(_spikes(held, kind, rule) != held[key]))
        yield _row(f"nir {kind}, {rule}", "spike_mismatches", wrong, _NIR.format(tool))


def _row(case: str, quantity: str, wrong: int, source: str) -> Row:
    return Row("spiking", case, quantity, "numbers", 0.0, float(wrong), 0.0, source)


def _arrays(path: Path) -> dict[str, Array]:
    try:
        with np.load(path) as held:
            return {name: held[name] for name in held.files}
    except (OSError, ValueError, BadZipFile) as error:
        raise ModelError(f"{path}: must be a readable archive; see --golden") from error


def _spikes(held: Mapping[str, Array], kind: str, rule: str) -> Array:
    """An affine layer and a neuron, with the platform's rule, on the recorded input."""
    fields = _LIF if kind == "LIF" else _CUBA
    steps, sources = held["S_in"].shape
    nodes = {
        "in": Node("Input", {"shape": np.array([sources])}),
        "fc": Node("Affine", {"weight": held["W"], "bias": held["b"]}),
        "n": Node(kind, {name: np.array(value) for name, value in fields.items()}),
        "out": Node("Output", {}),
    }
    edges = (("in", "fc"), ("fc", "n"), ("n", "out"))
    module = imported(flat(Network(nodes, edges)), "net", preset(rule), _DT_S, steps, 1)
    x = held["S_in"][None].astype(np.float32)
    return np.asarray(evaluate(module, {"in": x})["out"][0])


class _Draws:
    """The tool's generators: two for each trace, and one for weights."""

    def __init__(self, seed: int) -> None:
        self._traces = [np.random.default_rng(seed + k) for k in range(4)]
        self._weights = np.random.default_rng(2)  # whatever the seed is
        self.advance()
        self.weight()  # one is drawn at the start

    def advance(self) -> None:
        """The next numbers of the traces."""
        x, x_impulse, y, y_impulse = self._traces
        self.now = {
            "x1": Draw(x.random(), int(x_impulse.integers(0, 127))),
            "y1": Draw(y.random(), int(y_impulse.integers(0, 127))),
        }

    def weight(self) -> float:
        """The next number of the weights."""
        return self._weights.random()


def _learnt(c: Mapping[str, Array]) -> int:
    """How many weights and traces of a run differ, over all timesteps."""
    *traces, epoch, seed = c["params"].tolist()
    sign: Sign = "mixed" if str(c["sign_mode"]) == "mixed" else "exc"
    kinds = {"x1": Trace(*traces[:2]), "y1": Trace(*traces[2:])}
    rule = Rule(products(str(c["dw"])), kinds, int(epoch), sign)
    state, draws = State.rest(rule, mantissas(LAVA, c["W0"], 8, sign)), _Draws(int(seed))
    wrong = 0
    for t, (pre, post) in enumerate(zip(c["pre"] > 0, c["post"] > 0, strict=True)):
        step, none = t % rule.epoch + 1, (np.zeros_like(pre), np.zeros_like(post))
        note(rule, state, (pre, none[1]), step, draws.now)
        draws.advance()
        note(rule, state, (none[0], post), step, draws.now)
        draws.advance()
        if step == rule.epoch:
            learn(rule, state, (t + 1) // rule.epoch, draws.now, draws.weight())
        found = (state.w, state.traces["x1"], state.traces["y1"])
        for ours, name in zip(found, ("w", "x1", "y1"), strict=True):
            wrong += int(np.count_nonzero(ours != c[name][t]))
    return wrong
