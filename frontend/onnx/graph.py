"""The walk over an ONNX graph: structure first, then inputs, then node by node.

Every use that cannot be imported is collected. What depends on it is judged on a stand-in of
the type that it would have made, so that one message names them all.
"""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from onnx import GraphProto, NodeProto, TypeProto, ValueInfoProto, defs

from tetrapla.frontend.names import Names, shown
from tetrapla.frontend.onnx import ops, quant, tensors
from tetrapla.frontend.onnx.dims import Dimensions
from tetrapla.frontend.onnx.fold import FOLDABLE, folded
from tetrapla.frontend.onnx.node import (
    Constant,
    OnnxNode,
    Operand,
    Refusal,
    Scope,
    Translate,
    attributes_of,
    check_arity,
    check_filled,
)
from tetrapla.frontend.onnx.stand_in import inferred_type
from tetrapla.frontend.onnx.structure import check_structure
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import IRError, ModelError, UnsupportedError
from tetrapla.ir.module import Module

# an import takes about 0.1 ms a node; beyond this a file is not a network (assumed)
MAX_NODES = 50_000

_Env: TypeAlias = "dict[str, Operand | None]"  # None: depends on something refused


class Importer:
    """One graph on its way into a module."""

    def __init__(
        self,
        graph: GraphProto,
        opset: int,
        functions: set[tuple[str, str]],
        folder: Path,
        name: str,
    ) -> None:
        self._graph = graph
        self._opset = opset
        self._functions = functions
        self._folder = folder
        self._name = name
        self._read = {name for node in graph.node for name in node.input}
        self._read |= {info.name for info in graph.output}
        self._refused: dict[str, list[str]] = {}  # "LSTM" or "Clip (reason)" -> layers' names

    def module(self, dims: dict[str, int], batch: int, *, shape_only: bool) -> Module:
        """The module.

        Raises:
            ModelError: the graph breaks a rule.
            UnsupportedError: listing everything that cannot be imported.
        """
        if len(self._graph.node) > MAX_NODES:
            raise ModelError(
                f"a graph must have at most {MAX_NODES} nodes, not {len(self._graph.node)}"
            )
        check_structure(self._graph)
        dimensions = Dimensions(self._real_inputs(), dims, batch)
        builder = ModuleBuilder(self._name)
        scope = Scope(builder, shape_only=shape_only)
        names = Names()
        env = self._initializers(shape_only)
        for info in self._real_inputs():
            shape = dimensions.input_shape(info)
            check_filled(f"input {shown(info.name)}", shape)
            env[info.name] = builder.input(names.fresh(info.name), shape, _dtype(info))
        self._walk(env, scope, dimensions)
        if self._refused:
            raise UnsupportedError(self._report())
        outputs = Names()
        for info in self._graph.output:
            found = env[info.name]
            assert found is not None
            dimensions.check_declared(info, found.shape, found.dtype)
            builder.output(outputs.fresh(info.name), scope.value(found))
        return builder.finish()

    def _real_inputs(self) -> list[ValueInfoProto]:
        held = {tensor.name for tensor in self._graph.initializer}
        return [info for info in self._graph.input if info.name not in held]

    def _initializers(self, shape_only: bool) -> _Env:
        env: _Env = {}
        for tensor in self._graph.initializer:
            what = f"initializer {shown(tensor.name)}"
            # shapes, axes and scales are needed even where weights are not
            external = tensor.data_location == tensor.EXTERNAL
            known = not shape_only or (len(tensor.dims) <= 1 and not external)
            array = tensors.array(tensor, self._folder, what, values=known)
            env[tensor.name] = Constant(array, tensor.name, known)
        return env

    def _walk(self, env: _Env, scope: Scope, dimensions: Dimensions) -> None:
        declared = {info.name: info for info in self._graph.value_info}
        for proto in self._graph.node:
            wanted = proto.name or next((name for name in proto.output if name), proto.op_type)
            label = scope.names.fresh(wanted)
            result = self._translated(proto, label, env, scope)
            for index, name in enumerate(proto.output):
                if name:
                    env[name] = result if index == 0 else None
            if result is not None and proto.output[0] in declared:
                info = declared[proto.output[0]]
                dimensions.check_declared(info, result.shape, result.dtype)

    def _translated(
        self, proto: NodeProto, label: str, env: _Env, scope: Scope
    ) -> Operand | None:
        """The operand for the first output; None where a refusal leaves even its type open."""
        domain = "" if proto.domain == "ai.onnx" else proto.domain
        title = f"{domain}::{proto.op_type}" if domain else proto.op_type
        title = shown(title)[1:-1]
        translate = self._translator(domain, proto.op_type)
        foldable = domain == "" and proto.op_type in FOLDABLE
        if translate is None and not foldable:
            self._refuse(title, proto, label)
            schema = _schema(proto.op_type, domain, self._opset)
            return self._stand_in(proto, schema, env, scope)
        schema = None
        try:
            schema = _schema(proto.op_type, domain, self._opset)
            if schema is not None:
                check_arity(proto, schema)
            known = quant.RUNTIME_ATTRIBUTES.get(proto.op_type, {})
            attributes = attributes_of(proto, schema, known)
            operands = [env[name] if name else None for name in proto.input]
            if any(name and env[name] is None for name in proto.input):
                return None
            extra = any(name and name in self._read for name in proto.output[1:])
            node = OnnxNode(proto.op_type, label, tuple(operands), attributes, extra)
            constant = folded(node) if domain == "" else None
            if constant is not None:
                return constant
            if translate is None:
                raise Refusal("only on constants and shapes")
            return translate(node, scope)
        except Refusal as refusal:
            self._refuse(f"{title} ({refusal})", proto, label)
            return self._stand_in(proto, schema, env, scope)
        except (ModelError, IRError) as error:
            raise ModelError(f"node {shown(proto.name or label)}: {error}") from None

    def _stand_in(
        self, proto: NodeProto, schema: defs.OpSchema | None, env: _Env, scope: Scope
    ) -> Operand | None:
        """Something to judge the nodes behind a refused one on, where its type can be told."""
        found = inferred_type(proto, schema, env)
        if found is None or len(proto.output) != 1:
            return None
        return scope.builder.input(scope.names.fresh("refused"), *found)

    def _translator(self, domain: str, op: str) -> Translate | None:
        if (domain, op) in self._functions:
            return None  # a function of the model's own; not inlined
        if domain == "" and op in ops.OPERATORS:
            return ops.OPERATORS[op]
        return quant.OPERATORS.get((domain, op))

    def _refuse(self, title: str, proto: NodeProto, label: str) -> None:
        self._refused.setdefault(title, []).append(proto.name or label)

    def _report(self) -> str:
        total = sum(map(len, self._refused.values()))
        listed = [
            f"{title} x{len(nodes)} (node {shown(nodes[0])})"
            for title, nodes in list(self._refused.items())[:50]
        ]
        more = len(self._refused) - len(listed)
        rest = f", and {more} more kinds" if more > 0 else ""
        plural = "node" if total == 1 else "nodes"
        return (
            f"{total} {plural} cannot be imported: {', '.join(listed)}{rest}; "
            f"replace them before exporting the model"
        )


def _schema(op: str, domain: str, opset: int) -> defs.OpSchema | None:
    """ONNX's description of an operator as of an opset; None where it has none."""
    if domain or not defs.has(op, domain):
        return None
    try:
        return defs.get_schema(op, opset, domain)
    except defs.SchemaError:
        raise ModelError(f"{op} does not exist in opset {opset}") from None


def _dtype(info: ValueInfoProto) -> str:
    kind: TypeProto = info.type
    if kind.WhichOneof("value") != "tensor_type":
        raise ModelError(f"input {shown(info.name)} must be a tensor")
    return tensors.dtype_name(kind.tensor_type.elem_type, f"input {shown(info.name)}")
