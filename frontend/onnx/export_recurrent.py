"""Recurrent layers as ONNX."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tetrapla.frontend.onnx.writer import TYPES, Writer
from tetrapla.ir.graph import Node

_SPELLED = {known: name for name, known in (
    ("Relu", "relu"), ("Tanh", "tanh"), ("Sigmoid", "sigmoid"), ("Softsign", "softsign"),
    ("Softplus", "softplus"), ("Affine", "affine"), ("LeakyRelu", "leaky_relu"),
    ("ThresholdedRelu", "thresholded_relu"), ("ScaledTanh", "scaled_tanh"),
    ("HardSigmoid", "hard_sigmoid"), ("Elu", "elu"),
)}  # fmt: skip
# the parameters of activations that are given none, as the IR defines them
_USUAL: Mapping[str, tuple[float, ...]] = {
    "affine": (1.0, 0.0),
    "leaky_relu": (0.01,),
    "thresholded_relu": (1.0,),
    "scaled_tanh": (1.0, 1.0),
    "hard_sigmoid": (0.2, 0.5),
    "elu": (1.0,),
}


def _recurrent(op: str, states: int, *more: str) -> Callable[[Node, Writer], None]:
    """x, w, r, b, then states, lengths and peepholes in another order than ONNX's."""

    def write(node: Node, writer: Writer) -> None:
        names = writer.names(node.operands)
        names += [""] * (5 + states + 1 - len(names))
        x, w, r, b, *rest = names
        first, lengths, peepholes = rest[:states], rest[states], rest[states + 1]
        place = 4 + states
        if lengths and node.operands[place].dtype != "i32":
            held = {"to": TYPES["i32"]}
            lengths = writer.add("Cast", [lengths], writer.fresh(f"{node.name}_steps"), held)
        inputs = [x, w, r, b, lengths, *first]
        if states == 2:
            inputs.append(peepholes)
        while not inputs[-1]:
            inputs.pop()
        writer.add(op, inputs, writer.results(node), _attributes(node, more))

    return write


def _attributes(node: Node, more: tuple[str, ...]) -> dict[str, object]:
    names: list[str] = []
    alphas: list[float] = []
    betas: list[float] = []
    for text in node.str("activations").split(","):
        name, *given = text.split(":")
        numbers = [float(number) for number in given]
        numbers += _USUAL.get(name, ())[len(numbers) :]
        names.append(_SPELLED[name])
        alphas += numbers[:1]
        betas += numbers[1:]
    found: dict[str, object] = {
        "activations": names,
        "direction": node.str("direction"),
        "hidden_size": node.operands[2].shape[2],
    }
    if alphas:
        found["activation_alpha"] = alphas
    if betas:
        found["activation_beta"] = betas
    if node.float("clip"):
        found["clip"] = node.float("clip")
    return {**found, **{key: node.attributes[key] for key in more}}


WRITERS: Mapping[str, Callable[[Node, Writer], None]] = {
    "nn.gru": _recurrent("GRU", 1, "linear_before_reset"),
    "nn.lstm": _recurrent("LSTM", 2, "input_forget"),
    "nn.rnn": _recurrent("RNN", 1),
}
