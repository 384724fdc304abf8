"""Convolutions and pools of Relax, which say their layouts."""

from __future__ import annotations

from tetrapla.frontend.onnx.node import OnnxAttribute, Operand, Refusal, Scope
from tetrapla.frontend.relax.reading import Asked, Translate
from tetrapla.frontend.torch_export.as_onnx import onnx_op


def _convolution(name: str, layout: str, kernel: str) -> Translate:
    def translate(asked: Asked, scope: Scope) -> Operand:
        asked.must_be("data_layout", layout)
        asked.must_be("out_layout", layout, "")
        asked.must_be("kernel_layout", kernel)
        asked.must_be("out_dtype", None, "", asked.tensor(0).dtype)
        held = _window(asked)
        held["dilations"] = asked.some("dilation")
        held["group"] = asked.int("groups")
        if name == "ConvTranspose":
            held["output_padding"] = asked.some("output_padding")
        given = [asked.tensor(0), asked.tensor(1), asked.optional(2)]
        return onnx_op(name, given, held, scope, asked.label)

    return translate


def _pool(name: str, layout: str) -> Translate:
    def translate(asked: Asked, scope: Scope) -> Operand:
        asked.must_be("layout", layout)
        asked.must_be("out_layout", layout, "")
        held = _window(asked)
        held["kernel_shape"] = asked.some("pool_size")
        held["dilations"] = asked.some("dilation")
        held["ceil_mode"] = asked.int("ceil_mode")
        if name == "AveragePool":
            held["count_include_pad"] = asked.int("count_include_pad")
        return onnx_op(name, [asked.tensor(0)], held, scope, asked.label)

    return translate


def _window(asked: Asked) -> dict[str, OnnxAttribute]:
    return {"strides": asked.some("strides"), "pads": asked.some("padding")}


def _adaptive(asked: Asked, scope: Scope) -> Operand:
    asked.must_be("layout", "NCHW")
    if asked.ints("output_size") not in ((1, 1), (1,)):
        raise Refusal("only an output of one pixel is translated")
    return onnx_op("GlobalAveragePool", [asked.tensor(0)], {}, scope, asked.label)


WINDOWS: dict[str, Translate] = {
    "nn.adaptive_avg_pool2d": _adaptive,
    "nn.avg_pool1d": _pool("AveragePool", "NCW"),
    "nn.avg_pool2d": _pool("AveragePool", "NCHW"),
    "nn.conv1d": _convolution("Conv", "NCW", "OIW"),
    "nn.conv2d": _convolution("Conv", "NCHW", "OIHW"),
    "nn.conv2d_transpose": _convolution("ConvTranspose", "NCHW", "IOHW"),
    "nn.max_pool1d": _pool("MaxPool", "NCW"),
    "nn.max_pool2d": _pool("MaxPool", "NCHW"),
}
