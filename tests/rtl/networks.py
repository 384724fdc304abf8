"""Networks of the size that people use, quantised by the project itself, and their judges."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import cast

import numpy as np
import onnx
import onnxruntime

from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.frontend.builder import functions as nn
from tetrapla.frontend.onnx.export import export
from tetrapla.frontend.zoo.multihead import post_norm_block
from tetrapla.frontend.zoo.network import Draft
from tetrapla.ir.graph import Array, Graph, Value
from tetrapla.ir.module import Module
from tetrapla.models import load
from tetrapla.samples import drawn
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec

BERT = "bert-block"
TOKENS, FEATURES, HEADS, WIDTH = 128, 768, 12, 3072
"""A block of BERT-base (Devlin et al., "BERT", section 3)."""


@dataclass(frozen=True)
class Network:
    """A quantised network and one invocation's inputs."""

    lowered: Lowered[Program]
    inputs: dict[str, Array]

    @property
    def layers(self) -> dict[str, Value]:
        """The 8-bit result of each layer, by the layer's name."""
        nodes = self.lowered.module.graph.nodes
        return {n.name: n.result for n in nodes if n.result.dtype in ("i8", "ui8")}

    def with_every_layer(self, spec: SystolicSpec) -> Program:
        """The program that also stores each layer's result, as an output."""
        graph = self.lowered.module.graph
        probed = replace(graph, outputs=tuple(self.layers.items()))
        return compile_graph(probed, spec, "probed")

    def by_onnx_runtime(self) -> dict[str, Array]:
        """Each layer's result as ONNX Runtime computes it, from its quantised operators."""
        model = onnx.load_from_string(export(self.lowered.module, "qlinear"))
        there = {found.name for found in model.graph.output}
        for name, value in self.layers.items():
            kind = {"i8": onnx.TensorProto.INT8, "ui8": onnx.TensorProto.UINT8}[value.dtype]
            if name not in there:
                info = onnx.helper.make_tensor_value_info(name, kind, value.shape)
                model.graph.output.append(info)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        session = onnxruntime.InferenceSession(model.SerializeToString(), options)
        given = {name: array[0] for name, array in self.inputs.items()}
        found = cast("list[Array]", session.run(list(self.layers), given))
        return dict(zip(self.layers, found, strict=True))


def network(name: str, spec: SystolicSpec) -> Network:
    """An entry of the zoo with its random weights, or `BERT`."""
    module = _bert_block() if name == BERT else load(f"zoo:{name}")
    inputs = _features() if name == BERT else drawn(module, 0, 1).inputs
    lowered = TARGET.lower(module, spec, inputs, Options("int8"))
    halved = _halved(lowered.module)
    program = compile_graph(halved.graph, spec, halved.name)
    return Network(replace(lowered, module=halved, program=program), inputs)


def _bert_block() -> Module:
    draft = Draft(BERT, 1, 0, True)
    x = draft.input("x", (TOKENS, FEATURES))
    draft.output("y", post_norm_block(draft, x, HEADS, WIDTH, nn.gelu, epsilon=1e-12))
    return draft.builder.build()


def _features() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    return {"x": rng.standard_normal((1, 1, TOKENS, FEATURES)).astype(np.float32)}


def _halved(module: Module) -> Module:
    """Weights of 7 bits at twice the scale.

    On x86 without VNNI, ONNX Runtime's kernels saturate pairs of products of 8 bits at 16.
    """
    graph = module.graph
    halved = {graph.constants[v.index] for v in _weights(graph)}
    doubled = {graph.constants[v.index] for v in _scales(graph)}
    weights = dict(module.weights)
    weights |= {name: weights[name] // 2 for name in halved}
    weights |= {name: weights[name] * np.float32(2) for name in doubled}
    return Module.parse(module.text(), weights, module.name)


def _weights(graph: Graph) -> list[Value]:
    products = [n for n in graph.nodes if n.kind in ("qnn.conv2d", "qnn.matmul")]
    return [n.operands[1] for n in products if n.operands[1].index in graph.constants]


def _scales(graph: Graph) -> list[Value]:
    made = {n.result.index: n for n in graph.nodes}
    requantized = [n for n in graph.nodes if n.kind == "qnn.requantize"]
    halved = {v.index for v in _weights(graph)}
    return [
        n.operands[1]
        for n in requantized
        if made[n.operands[0].index].operands[1].index in halved
    ]
