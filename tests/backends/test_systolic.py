"""The systolic compiler: every program agrees with the reference, and waits long enough."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from tetrapla.backends.systolic import TARGET
from tetrapla.backends.systolic.compile import compile_graph
from tetrapla.backends.target_ import Lowered, Options
from tetrapla.ir.build import ModuleBuilder
from tetrapla.ir.errors import ModelError, UnsupportedError
from tetrapla.ir.graph import Array, Value
from tetrapla.ir.interpret import evaluate_many
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key
from tetrapla.simulators.report import CrossCheck, Run, assemble
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.isa import Instruction
from tetrapla.simulators.systolic.machine import run
from tetrapla.simulators.systolic.program import Program
from tetrapla.simulators.systolic.spec import SystolicSpec
from tetrapla.simulators.systolic.tables import Descriptor, RequantizeRow
from tetrapla.simulators.systolic.timing import schedule

KEY = Key(0)

# rows, cols, accumulator rows, weight tiles: square, tall, wide, tiny memories, large
ARRAYS = [(8, 8, 64, 4), (16, 4, 64, 2), (5, 12, 7, 1), (3, 2, 1, 3), (256, 256, 4096, 4)]


def chip(rows: int, cols: int, accumulators: int = 4096, tiles: int = 4) -> SystolicSpec:
    settings = [
        f"array.rows={rows}",
        f"array.cols={cols}",
        f"memories.accumulator_rows={accumulators}",
        f"memories.weight_tiles={tiles}",
    ]
    return load_spec("tpu-v1", SystolicSpec, settings).spec


class Net:
    """Builds quantised modules with random weights."""

    def __init__(self, rng: np.random.Generator, shape: tuple[int, ...], dtype: str = "i8"):
        self.rng = rng
        self.builder = ModuleBuilder("net")
        self.dtype = dtype
        self.x = self.builder.input("x", shape, dtype)

    def weights(self, shape: tuple[int, ...], name: str) -> Value:
        array = self.rng.integers(-127, 128, shape).astype(np.int8)
        return self.builder.weight(name, array)

    def requantize(self, acc: Value, axis: int, name: str, zero_point: int = -9) -> Value:
        size = acc.shape[axis]
        scale = (self.rng.random(size) * 0.004 + 0.0005).astype(np.float32)
        low, high = (-128, 127) if self.dtype == "i8" else (0, 255)
        attributes = {"zero_point": zero_point, "low": low, "high": high, "axis": axis}
        return self.builder.op(
            "qnn.requantize",
            [acc, self.builder.weight(f"{name}.scale", scale)],
            {**attributes, "dtype": self.dtype},
            name=f"{name}.requantize",
        )

    def conv(
        self, x: Value, filters: int, kernel: tuple[int, int], name: str, **own: Any
    ) -> Value:
        groups = own.get("groups", 1)
        w = self.weights((filters, x.shape[1] // groups, *kernel), f"{name}.w")
        bias = self.rng.integers(-3000, 3000, filters).astype(np.int32)
        attributes = {
            "strides": (1, 1),
            "pads": (0, 0, 0, 0),
            "dilations": (1, 1),
            "groups": 1,
            "x_zero_point": 5,
            "w_zero_point": 0,
        }
        operands = [x, w, self.builder.weight(f"{name}.bias", bias)]
        acc = self.builder.op("qnn.conv2d", operands, {**attributes, **own}, name=name)
        return self.requantize(acc, 1, name, zero_point=5)

    def product(self, x: Value, outputs: int, name: str) -> Value:
        w = self.weights((x.shape[-1], outputs), f"{name}.w")
        zeros = {"x_zero_point": 5, "w_zero_point": 0}
        acc = self.builder.op("qnn.matmul", [x, w], zeros, name=name)
        return self.requantize(acc, len(acc.shape) - 1, name, zero_point=5)

    def finish(self, *values: Value) -> Module:
        for number, value in enumerate(values):
            self.builder.output(f"y{number}", value)
        return self.builder.finish()

    def inputs(self, count: int = 3) -> dict[str, Array]:
        low, high = (-128, 128) if self.dtype == "i8" else (0, 256)
        array = self.rng.integers(low, high, (count, *self.x.shape))
        return {"x": array.astype(np.int8 if self.dtype == "i8" else np.uint8)}


def check(module: Module, spec: SystolicSpec, inputs: dict[str, Array]) -> tuple[Run, Program]:
    """Compile, check the waits, run, and hold against the reference and the invariants."""
    lowered = TARGET.lower(module, spec, None, Options())
    hold_waits(lowered.program, spec)
    result = run(lowered.program, spec, inputs, KEY)
    verdict = held(lowered, spec, inputs, result)
    assert verdict == CrossCheck("bit_exact", 0, None, None, True)
    assemble(
        result,
        model="net",
        target="chip",
        family="systolic",
        command="",
        cost=spec.cost,
        macs=sum(layer.macs for layer in lowered.program.layers),
    )
    assert sum(layer.cycles for layer in result.layers) == result.cycles
    return result, lowered.program


def held(
    lowered: Lowered[Program], spec: SystolicSpec, inputs: dict[str, Array], result: Run
) -> CrossCheck:
    reference = evaluate_many(lowered.module, inputs)
    return TARGET.cross_check(lowered, spec, inputs, result, reference)


@dataclass(frozen=True)
class Access:
    """One instruction's use of `count` places of a memory from `start` on."""

    memory: str
    start: int
    count: int
    writes: bool


class Accesses:
    """What each instruction touches, told from its operands alone."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.descriptors: dict[int, Descriptor] = {}
        self.rows: dict[int, RequantizeRow] = {}

    def of(self, i: Instruction) -> Iterator[Access]:
        part = self.program.constants[i["dram"] : i["dram"] + i["bytes"]]
        match i.op:
            case "LDW":
                yield Access("slot", i["slot"], 1, True)
            case "LW":
                yield Access("slot", i["slot"], 1, False)
                yield Access("shadow", 0, 1, True)
            case "LDA" | "ST":
                yield Access("buffer", i["ub"], i["bytes"], i.op == "LDA")
            case "CFG":
                if i["kind"] == 0:
                    self.descriptors[i["index"]] = Descriptor.unpack(part)
                else:
                    self.rows[i["index"]] = RequantizeRow.unpack(part)
                yield Access(("descriptor", "row")[i["kind"]], i["index"], 1, True)
            case "MM":
                yield Access("descriptor", i["desc"], 1, False)
                yield from self._read(self.descriptors[i["desc"]])
                yield Access("accumulator", i["acc"], i["len"], True)
                if i["swap"]:
                    yield Access("shadow", 0, 1, False)
            case "RQ":
                yield Access("row", i["table"], 1, False)
                yield Access("accumulator", i["acc"], i["len"], False)
                yield Access("buffer", i["ub"], self.rows[i["table"]].stride * i["len"], True)
            case "VE":
                for index in {i["a"], i["b"]} if i["func"] == 3 else {i["a"]}:
                    yield Access("descriptor", index, 1, False)
                    yield from self._read(self.descriptors[index])
                channels = self.descriptors[i["a"]].channels
                yield Access("buffer", i["ub"], i["len"] * channels, True)

    def _read(self, d: Descriptor) -> Iterator[Access]:
        last = (d.height - 1) * d.row_stride + (d.width - 1) * d.pixel_stride + d.channels
        yield Access("buffer", d.base, last, False)


def hold_waits(program: Program, spec: SystolicSpec) -> None:
    """In time, not in order: nobody touches what another engine has not finished with."""
    events, accesses = schedule(program, spec).events, Accesses(program)
    touched: dict[str, list[tuple[int, Access]]] = {}
    for number, instruction in enumerate(program.instructions):
        for access in accesses.of(instruction):
            for earlier, other in touched.setdefault(access.memory, []):
                apart = (
                    other.start + other.count <= access.start
                    or access.start + access.count <= other.start
                )
                if apart or not (access.writes or other.writes):
                    continue
                before = program.instructions[earlier]
                same = before.engine == instruction.engine
                if same and (access.memory != "buffer" or access.writes):
                    continue  # an engine keeps its own order
                if before.op == "MM" and access.memory == "shadow":
                    continue  # LW follows the wave that took the shadow weights
                late = events[number].dispatch <= events[earlier].retire
                assert not late, f"{instruction} touches {access} of {before} too early"
            touched[access.memory].append((number, access))


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize(
    "options",
    [
        {"kernel": (3, 3), "pads": (1, 1, 1, 1)},
        {"kernel": (3, 2), "pads": (2, 0, 1, 1), "strides": (2, 1), "dilations": (1, 3)},
        {"kernel": (2, 2), "groups": 3},
        {"kernel": (3, 3), "groups": 6, "pads": (0, 1, 2, 0)},
        {"kernel": (1, 1), "strides": (3, 2)},
    ],
    ids=["same", "strided", "grouped", "depthwise", "pointwise"],
)
def test_convolutions_are_exact_on_every_array(
    rng: np.random.Generator, array: tuple[int, int, int, int], options: dict[str, Any]
) -> None:
    net = Net(rng, (2, 6, 7, 8))
    kernel = options["kernel"]
    y = net.conv(net.x, 12, kernel, "a", **{k: v for k, v in options.items() if k != "kernel"})
    check(net.finish(net.conv(y, 5, (1, 1), "b")), chip(*array), net.inputs())


@pytest.mark.parametrize("array", ARRAYS)
@pytest.mark.parametrize("dtype", ["i8", "ui8"])
def test_a_residual_network_is_exact_on_every_array(
    rng: np.random.Generator, array: tuple[int, int, int, int], dtype: str
) -> None:
    net = Net(rng, (1, 2, 9, 9), dtype)
    op = net.builder.op
    a = net.conv(net.x, 6, (3, 3), "a", pads=(1, 1, 1, 1))
    b = net.conv(a, 6, (3, 3), "b", pads=(1, 1, 1, 1), groups=6)
    scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
    zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
    y = op("qnn.add", [a, b], {**scales, **zeros}, name="add")
    windows = {"kernel": (3, 2), "strides": (2, 1), "pads": (1, 1, 1, 0)}
    y = op("nn.max_pool2d", [y], {**windows, "dilations": (1, 1)}, name="max")
    y = op("nn.relu", [y], name="relu")
    mean = {"x_scale": 0.75, "x_zero_point": 3, "y_scale": 0.5, "y_zero_point": 5}
    for counted in (0, 1):
        attributes = {**windows, **mean, "count_include_pad": counted}
        y = op("qnn.average_pool2d", [y], attributes, name=f"mean{counted}")
    z = op("qnn.global_average_pool", [y], mean, name="global")
    y = op("nn.reshape", [y], {"shape": (1, y.elements)}, name="flat")
    y = net.product(y, 7, "fc")
    check(net.finish(y, op("nn.reshape", [z], {"shape": (6,)})), chip(*array), net.inputs())


@pytest.mark.parametrize("array", ARRAYS)
def test_matrix_products_follow_views_of_their_operand(
    rng: np.random.Generator, array: tuple[int, int, int, int]
) -> None:
    net = Net(rng, (2, 3, 4, 5))
    y = net.conv(net.x, 6, (1, 1), "a")  # lies channels last: [2, 4, 5, 6]
    moved = net.builder.op("nn.transpose", [y], {"perm": (0, 2, 3, 1)})
    rows = net.product(net.builder.op("nn.reshape", [moved], {"shape": (2, 20, 6)}), 9, "b")
    whole = net.product(net.builder.op("nn.reshape", [y], {"shape": (2, 120)}), 4, "c")
    check(net.finish(rows, whole, moved), chip(*array), net.inputs())


def test_accumulators_that_the_host_wants_are_written_raw(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 2, 4, 4))
    w = net.weights((3, 2, 3, 3), "w")
    attributes = {"strides": (1, 1), "pads": (1, 0, 0, 1), "dilations": (1, 1), "groups": 1}
    zeros = {"x_zero_point": -4, "w_zero_point": 0}
    acc = net.builder.op("qnn.conv2d", [net.x, w], {**attributes, **zeros}, name="conv")
    y = net.requantize(acc, 1, "conv")
    scale = net.builder.weight("s", np.array([0.5, 0.25, 2], np.float32))
    real = net.builder.op("qnn.dequantize", [acc, scale], {"zero_point": 0, "axis": 1})
    result, program = check(net.finish(acc, y, real), chip(8, 8), net.inputs())
    assert [step.kind for step in program.after] == ["qnn.dequantize"]
    assert result.warnings == (
        "the host computes dequantize (qnn.dequantize); its time and energy are not counted",
    )


def test_weights_with_a_zero_point_are_centred_where_they_fit(rng: np.random.Generator) -> None:
    net = Net(rng, (3, 10))
    w = net.builder.weight("w", rng.integers(0, 256, (10, 4)).astype(np.uint8))
    zeros = {"x_zero_point": 7, "w_zero_point": 128}
    acc = net.builder.op("qnn.matmul", [net.x, w], zeros, name="product")
    check(net.finish(acc), chip(4, 4), net.inputs())


def test_a_constant_operand_of_add_is_loaded(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 3, 3))
    y = net.conv(net.x, 4, (1, 1), "a")
    shift = net.weights((1, 4, 3, 3), "shift")
    scales = {"a_scale": 0.5, "b_scale": 0.25, "y_scale": 0.75}
    zeros = {"a_zero_point": 5, "b_zero_point": 5, "y_zero_point": 3}
    y = net.builder.op("qnn.add", [y, shift], {**scales, **zeros})
    check(net.finish(y), chip(8, 8), net.inputs())


def digits(rng: np.random.Generator) -> Module:
    """A float CNN of the size of the digits example."""
    b = ModuleBuilder("digits")
    window = {"dilations": (1, 1), "groups": 1, "activation": "relu", "pads": (1, 1, 1, 1)}

    def conv(x: Value, filters: int, name: str) -> Value:
        w = rng.standard_normal((filters, x.shape[1], 3, 3)).astype(np.float32) * 0.3
        operands = [x, b.weight(f"{name}.w", w)]
        return b.op("nn.conv2d", operands, {**window, "strides": (1, 1)}, name=name)

    pool = {"kernel": (2, 2), "strides": (2, 2), "pads": (0, 0, 0, 0), "dilations": (1, 1)}
    y = conv(b.input("x", (1, 1, 8, 8)), 16, "conv1")
    y = b.op("nn.max_pool2d", [conv(y, 32, "conv2")], pool, name="pool")
    y = b.op("nn.reshape", [y], {"shape": (1, 512)}, name="flat")
    w = rng.standard_normal((512, 10)).astype(np.float32) * 0.1
    y = b.op("nn.matmul", [y, b.weight("fc.w", w)], {"activation": "none"}, name="fc")
    b.output("y", b.op("nn.softmax", [y], {"axis": -1}, name="softmax"))
    return b.finish()


def test_the_digits_cnn_is_exact_and_quick(rng: np.random.Generator) -> None:
    images = {"x": rng.random((450, 1, 1, 8, 8)).astype(np.float32)}
    spec = chip(256, 256)
    lowered = TARGET.lower(digits(rng), spec, images, Options())
    start = time.process_time()
    result = run(lowered.program, spec, images, KEY)
    assert time.process_time() - start < 3
    assert held(lowered, spec, images, result).passed
    names = [layer.name for layer in result.layers]
    assert names == ["(input)", "conv1", "conv2", "pool", "fc", "(output)"]
    assert [s.kind for s in lowered.program.before] == ["qnn.quantize"]
    assert [s.kind for s in lowered.program.after] == ["qnn.dequantize", "nn.softmax"]
    assert run(lowered.program, spec, images, KEY).cycles == result.cycles


def test_a_dropped_tile_is_caught(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 3, 6, 6))
    module = net.finish(net.conv(net.conv(net.x, 9, (3, 3), "a"), 8, (3, 3), "b"))
    spec, inputs = chip(8, 8), net.inputs()
    lowered = TARGET.lower(module, spec, None, Options())
    steps = lowered.program.instructions
    products = [n for n, i in enumerate(steps) if i.op == "MM"]
    assert len(products) > 10
    for n in products:
        broken = replace(lowered.program, instructions=(*steps[:n], *steps[n + 1 :]))
        result = run(broken, spec, inputs, KEY)
        verdict = held(lowered, spec, inputs, result)
        assert not verdict.passed
        assert verdict.mismatches


def test_a_dropped_wait_is_caught_by_the_test_of_the_waits(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 3, 6, 6))
    spec = chip(8, 8)
    program = TARGET.lower(net.finish(net.conv(net.x, 9, (3, 3), "a")), spec, None, Options())
    steps = program.program.instructions
    n = next(n for n, i in enumerate(steps) if i.op == "RQ" and i.waits)
    bare = replace(steps[n], waits={})
    broken = replace(program.program, instructions=(*steps[:n], bare, *steps[n + 1 :]))
    with pytest.raises(AssertionError, match="too early"):
        hold_waits(broken, spec)


def test_a_program_survives_json_and_its_binary(rng: np.random.Generator) -> None:
    images = {"x": rng.random((5, 1, 1, 8, 8)).astype(np.float32)}
    spec = chip(16, 16)
    program = TARGET.lower(digits(rng), spec, images, Options()).program
    again = Program.from_dict(json.loads(json.dumps(program.to_dict())))
    assert again.text() == program.text()
    assert again.binary() == program.binary()
    assert len(program.binary()) == 16 * len(program.instructions)
    first, second = (run(p, spec, images, KEY) for p in (program, again))
    assert np.array_equal(first.outputs["y"], second.outputs["y"])
    assert first.layers == second.layers


def gemm(m: int, k: int, n: int) -> Module:
    """A shape-only matrix product: no weights, no values."""
    b = ModuleBuilder("gemm")
    x, w = b.input("x", (m, k), "i8"), b.shape_of_weight("w", (k, n), "i8")
    acc = b.op("qnn.matmul", [x, w], {"x_zero_point": 0, "w_zero_point": 0}, name="gemm")
    scale = b.shape_of_weight("s", (1,), "f32")
    clamp = {"zero_point": 0, "low": -128, "high": 127, "axis": 1, "dtype": "i8"}
    b.output("y", b.op("qnn.requantize", [acc, scale], clamp, name="requantize"))
    return b.finish()


def cycles(module: Module, spec: SystolicSpec) -> float:
    return run(compile_graph(module.graph, spec, "m"), spec, {}, KEY).cycles


def test_a_bigger_array_is_never_slower_on_a_big_gemm() -> None:
    module = gemm(512, 512, 512)
    found = [cycles(module, chip(size, size)) for size in (8, 16, 32, 64, 128, 256)]
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize("size", [8, 32, 128])
def test_cycles_are_at_least_the_macs_and_close_where_the_array_is_fed(size: int) -> None:
    m, k, n = 2048, 512, 256
    result = run(
        compile_graph(gemm(m, k, n).graph, spec := chip(size, size), "m"), spec, {}, KEY
    )
    (row,) = (layer for layer in result.layers if layer.name == "gemm")
    assert row.macs == m * k * n
    assert row.cycles >= m * k * n / size**2
    assert row.utilization_frac is not None
    assert row.utilization_frac >= 0.9
    assert row.bound_by == "array"


def test_a_product_with_few_rows_is_bound_by_the_weights_traffic() -> None:
    # 2 M N K / time = 2 M x bandwidth: 2 x 200 x 34 GB/s = 13.6 Tera operations per second
    spec = chip(256, 256)
    result = run(compile_graph(gemm(200, 4096, 4096).graph, spec, "m"), spec, {}, KEY)
    (row,) = (layer for layer in result.layers if layer.name == "gemm")
    assert row.bound_by == "dma"
    assert 2 * row.macs / (row.cycles / 700e6) == pytest.approx(13.6e12, rel=0.02)


def test_traffic_by_hand() -> None:
    # 10 x 20 by 20 x 6 on 8 x 4: taps 8 + 8 + 4, columns 4 + 2, so 6 tiles of 10 rows
    spec = chip(8, 4)
    result = run(compile_graph(gemm(10, 20, 6).graph, spec, "m"), spec, {}, KEY)
    total: dict[str, float] = {}
    for layer in result.layers:
        for action, count in layer.actions.items():
            total[action] = total.get(action, 0) + count
    assert total["mac.int8"] == 10 * 20 * 6
    assert total["mac.idle"] == 6 * 10 * 32 - 1200
    assert total["weight_memory.write_byte"] == total["weight_memory.read_byte"] == 20 * 6
    assert total["array.shift_byte"] == 6 * 4 * 36  # 8 x 9 / 2 registers a column
    assert total["accumulator.write_byte"] == 4 * 10 * 6 * 3
    assert total["accumulator.read_byte"] == 4 * 10 * 6 * (2 + 1)  # two additions and RQ
    # activations once per column tile, then the result leaves
    assert total["unified_buffer.read_byte"] == 10 * 20 * 2 + 60
    assert total["unified_buffer.write_byte"] == 10 * 20 + 60
    assert total["host_link.byte"] == 10 * 20 + 60
    # weights, one descriptor, rows of 4 and 2 columns with their headers
    assert total["dram.read_byte"] == 120 + 128 + (16 + 32) + (16 + 16)
    assert total["requantize.op"] == 60


def test_a_shape_only_module_has_cycles_but_no_values() -> None:
    spec = chip(8, 8)
    program = compile_graph(gemm(4, 4, 4).graph, spec, "m")
    with pytest.raises(ModelError) as refused:
        run(program, spec, {"x": np.zeros((1, 4, 4), np.int8)}, KEY)
    assert str(refused.value) == "model 'm' is shape-only and has no values to compute"


CAN = (
    "it can do qnn.conv2d, qnn.matmul, qnn.requantize, qnn.add, qnn.average_pool2d, "
    "qnn.global_average_pool, nn.max_pool2d, nn.relu, nn.reshape, nn.transpose on integers, "
    "and the host any float operator but conv2d and matmul before the first or after the last "
    "of these"
)


def refusal(module: Module, spec: SystolicSpec | None = None) -> str:
    with pytest.raises(UnsupportedError) as refused:
        compile_graph(module.graph, spec or chip(8, 8), "m")
    return str(refused.value)


def test_all_nodes_without_an_instruction_are_named_in_one_message(
    rng: np.random.Generator,
) -> None:
    net = Net(rng, (2, 4, 4))
    op = net.builder.op
    scale = net.builder.weight("s", np.ones(1, np.float32))
    zeros = {"x_zero_point": 0, "w_zero_point": 0}
    first = net.product(net.x, 4, "first")
    for name in ("one", "two"):
        real = op("qnn.dequantize", [first, scale], {"zero_point": 0, "axis": 0})
        real = op("nn.softmax", [real], {"axis": -1}, name=f"softmax_{name}")
        quantize = {"zero_point": 0, "axis": 0, "dtype": "i8"}
        first = net.product(op("qnn.quantize", [real, scale], quantize), 4, name)
    both = op("qnn.matmul", [first, net.x], zeros, name="attention")
    assert refusal(net.finish(both)) == (
        "systolic has no instruction for "
        "2 qnn.dequantize (dequantize, dequantize_2: between integer operators), "
        "2 nn.softmax (softmax_one, softmax_two: between integer operators), "
        "2 qnn.quantize (quantize, quantize_2: between integer operators), "
        "1 qnn.matmul (attention: weights that are not constant); " + CAN
    )


def test_a_float_model_asks_for_quantisation(rng: np.random.Generator) -> None:
    spec = chip(8, 8)
    with pytest.raises(UnsupportedError) as refused:
        TARGET.lower(digits(rng), spec, None, Options(quant="none"))
    assert str(refused.value) == (
        "systolic has no instruction for "
        "2 nn.conv2d (conv1, conv2: on floats; quantise with --quant int8), "
        "1 nn.matmul (fc: on floats; quantise with --quant int8); " + CAN
    )
    with pytest.raises(ModelError) as asked:
        TARGET.lower(digits(rng), spec, None, Options())
    assert str(asked.value) == (
        "systolic must have calibration data to quantise 'digits', not none; "
        "give --data or --calib"
    )


def test_a_layout_that_cannot_be_read_is_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 3, 5))
    y = net.conv(net.x, 6, (1, 1), "a")
    turned = net.builder.op("nn.transpose", [y], {"perm": (0, 2, 1, 3)}, name="turn")
    z = net.conv(turned, 2, (1, 1), "b")
    assert refusal(net.finish(z)) == (
        "systolic has no instruction for "
        "1 qnn.conv2d (b: channels that are not contiguous in memory); " + CAN
    )


def test_activations_that_do_not_fit_are_refused(rng: np.random.Generator) -> None:
    net = Net(rng, (1, 4, 8, 8))
    module = net.finish(net.conv(net.x, 4, (1, 1), "a"))
    spec = load_spec(
        "tpu-v1",
        SystolicSpec,
        ["array.rows=8", "array.cols=8", "memories.unified_buffer=300 B"],
    ).spec
    assert refusal(module, spec) == (
        "systolic: activations of 'm' must fit the unified buffer of 300 bytes, not 512 bytes; "
        "lower the batch or enlarge memories.unified_buffer"
    )
