"""Functions as nodes: the file's own, and the bodies by which ONNX defines an operator.

A schema is `Any` here: onnx's type stubs leave its functions out.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from onnx import AttributeProto, FunctionProto, NodeProto, TensorProto, TypeProto, helper
from onnx.checker import ValidationError
from onnx.defs import SchemaError
from onnx.shape_inference import InferenceError

from tetrapla.frontend.names import shown
from tetrapla.frontend.onnx.control import names_read
from tetrapla.frontend.onnx.node import TEXT, Held, Listed, Nothing
from tetrapla.ir.errors import ModelError
from tetrapla.ir.graph import DTYPES

# functions that call functions; exporters nest a handful (assumed)
MAX_DEPTH = 16

# what ONNX's own code raises for a node that it cannot expand
_REFUSALS = (ValidationError, SchemaError, InferenceError)


@dataclass(frozen=True)
class Body:
    """Nodes that stand for one node, over names of their own.

    Attributes:
        nodes: in order, attributes filled in from the caller.
        opsets: the versions that the nodes are written for.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[NodeProto, ...]
    opsets: Mapping[str, int]


def called(function: FunctionProto, node: NodeProto) -> Body:
    """The function's body with the attributes of the node that calls it.

    Raises:
        ModelError: the node has more inputs or outputs than the function, or it names one
            of them twice.
    """
    for what, given_names, names in (
        ("inputs", node.input, function.input),
        ("outputs", node.output, function.output),
    ):
        if len(given_names) > len(names):
            raise ModelError(
                f"{shown(node.op_type)} takes at most {len(names)} {what}, "
                f"not {len(given_names)}"
            )
        if len(set(names)) < len(names):
            raise ModelError(f"{shown(node.op_type)} must name each of its {what} once")
    given = {attribute.name: attribute for attribute in function.attribute_proto}
    given.update({attribute.name: attribute for attribute in node.attribute})
    opsets = {
        "" if entry.domain == "ai.onnx" else entry.domain: entry.version
        for entry in function.opset_import
    }
    return Body(
        tuple(function.input),
        tuple(function.output),
        tuple(_filled(inner, given) for inner in function.node),
        opsets,
    )


def _filled(node: NodeProto, given: Mapping[str, AttributeProto]) -> NodeProto:
    """The node with references to the caller's attributes replaced, or left out."""
    if not any(a.ref_attr_name or a.HasField("g") for a in node.attribute):
        return node
    made = NodeProto()
    made.CopyFrom(node)
    del made.attribute[:]
    for attribute in node.attribute:
        if not attribute.ref_attr_name:
            made.attribute.append(attribute)
            inner = [_filled(held, given) for held in attribute.g.node]
            if inner:
                del made.attribute[-1].g.node[:]
                made.attribute[-1].g.node.extend(inner)
        elif attribute.ref_attr_name in given:
            made.attribute.add().CopyFrom(given[attribute.ref_attr_name])
            made.attribute[-1].name = attribute.name
    return made


def defined_by(
    schema: Any,
    node: NodeProto,
    opsets: Mapping[str, int],
    operands: Sequence[Held | None],
) -> Body | None:
    """The body by which ONNX defines an operator as of an opset; None where it has none."""
    if schema is None or not is_defined(schema):
        return None
    data = _serialised(schema, node, opsets.get(schema.domain, 1), operands)
    if not data:
        return None
    function = FunctionProto()
    function.ParseFromString(data)
    defaults = {
        name: form.default_value
        for name, form in schema.attributes.items()
        if form.default_value.name
    }
    held = {attribute.name for attribute in node.attribute}
    whole = NodeProto()
    whole.CopyFrom(node)
    whole.attribute.extend(a for name, a in defaults.items() if name not in held)
    body = called(function, whole)
    # some of ONNX's bodies name no version: they are written for the caller's
    return replace(body, opsets={**opsets, **body.opsets})


def _serialised(
    schema: Any, node: NodeProto, opset: int, operands: Sequence[Held | None]
) -> bytes:
    """ONNX's FunctionProto as bytes; empty where it has none for this opset and types."""
    if schema.has_function:
        versions = [v for v in schema.function_opset_versions if v <= opset]
        if not versions:
            return b""
        return bytes(schema.get_function_with_opset_version(max(versions)))
    versions = [v for v in schema.context_dependent_function_opset_versions if v <= opset]
    if not versions:
        return b""
    types = [_type(operand).SerializeToString() for operand in operands]
    try:
        made = schema.get_context_dependent_function_with_opset_version(
            max(versions), node.SerializeToString(), types
        )
    except (RuntimeError, ValueError, IndexError, TypeError, *_REFUSALS):
        return b""  # a broken node: the importer says what is wrong with it
    return bytes(made)


def _type(held: Held | None) -> TypeProto:
    if held is None or isinstance(held, Nothing):
        return TypeProto()
    if isinstance(held, Listed):
        item = helper.make_tensor_type_proto(_element(held.dtype), None)
        return helper.make_sequence_type_proto(item)
    return helper.make_tensor_type_proto(_element(held.dtype), list(held.shape))


def _element(dtype: str) -> int:
    if dtype == TEXT:
        return TensorProto.STRING
    return int(helper.np_dtype_to_tensor_dtype(DTYPES[dtype]))


def needed(body: Body, wanted: Sequence[bool]) -> list[NodeProto]:
    """The nodes that the wanted outputs depend on, in order."""
    read = {name for name, wants in zip(body.outputs, wanted, strict=False) if wants}
    kept: list[NodeProto] = []
    for node in reversed(body.nodes):
        if read.intersection(node.output):
            kept.append(node)
            read.update(names_read(node))
    return kept[::-1]


def is_defined(schema: Any) -> bool:
    """Whether ONNX defines the operator by other ones."""
    return schema is not None and bool(
        schema.has_function or schema.has_context_dependent_function
    )


def check_names(
    body: Body,
    nodes: Sequence[NodeProto],
    env: Mapping[str, Held | None],
    wanted: Sequence[bool],
) -> None:
    """Every name of a body is made once, and before it is read; the wanted outputs are made.

    Raises:
        ModelError: with the first offence.
    """
    made = {*body.inputs, *env}
    for node in nodes:
        for name in node.input:
            if name and name not in made:
                raise ModelError(f"a function reads the value {shown(name)} before it is made")
        for name in node.output:
            if name in made:
                raise ModelError(f"a function's value {shown(name)} must be made once")
            if name:
                made.add(name)
    for name, wants in zip(body.outputs, wanted, strict=False):
        if wants and name not in made:
            raise ModelError(f"a function's output {shown(name)} is never made")


def without_absent(node: NodeProto, env: Mapping[str, Held | None]) -> NodeProto:
    """The node without the names of inputs that the caller left out."""
    if all(name in env for name in node.input if name):
        return node
    made = NodeProto()
    made.CopyFrom(node)
    names = [name if name in env else "" for name in node.input]
    while names and not names[-1]:
        names.pop()
    del made.input[:]
    made.input.extend(names)
    return made
