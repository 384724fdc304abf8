"""Learning on recorded inputs: what differs from the tool's traces."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from tetrapla.ir.graph import Array
from tetrapla.ir.spike.loihi import LAVA, Sign, mantissas
from tetrapla.ir.spike.plasticity import Draw, Rule, State, Trace, learn, note, products
from tetrapla.suites.tables_ import arrays
from tetrapla.validation import Row

_LAVA = "lava-nc 0.10.0, LearningDense, fixed point; tetrapla/data/golden/neuro/README.md"


def rows(golden: Path) -> Iterator[Row]:
    """Weights and traces of Lava's learning."""
    held = arrays(golden / "neuro" / "lava_stdp.npz")
    for k in range(sum(name.endswith("_name") for name in held)):
        case = {n[3:]: a for n, a in held.items() if n.startswith(f"c{k}_")}
        wrong = _learnt(case)
        yield _row(f"lava_stdp {case['name']}", "weight_mismatches", wrong, _LAVA)


def _row(case: str, quantity: str, wrong: int, source: str) -> Row:
    return Row("spiking", case, quantity, "numbers", 0.0, float(wrong), 0.0, source)


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
