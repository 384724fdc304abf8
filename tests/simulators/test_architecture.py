"""Architecture files of other tools: what becomes a chip, and what is named as left out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tetrapla.backends.target_ import find
from tetrapla.ir.errors import SpecError
from tetrapla.simulators.systolic.architecture.components import is_architecture, read
from tetrapla.simulators.systolic.architecture.numbers import number, whole

FOLDER = Path(__file__).parent / "architecture"
ACCELFORGE, TIMELOOP = FOLDER / "accelforge.yaml", FOLDER / "timeloop.yaml"


def test_accelforge_becomes_a_chip() -> None:
    target, chip = find(str(ACCELFORGE))
    spec = chip.spec
    assert target.family == "systolic"
    # sums run along what shares outputs: b, 8 of them
    assert (spec.array.rows, spec.array.cols, spec.array.units) == (8, 4, 2)
    assert spec.array.dataflow == "weight_stationary"
    assert spec.clock_hz == 500e6
    assert spec.memories.unified_buffer_bytes == 64 * 1024
    # 32 x 8 x 16 bits are 512 bytes a unit, 1024 in both; a tile is 32
    assert spec.memories.weight_tiles == 1024 // 32
    assert spec.dram.bandwidth_bytes_per_s == 10e9  # the slower of both ways
    assert spec.chip.node_nm == 28
    prices = spec.prices
    assert prices["dram.read_byte"] == pytest.approx(32)  # 8 bits of 4 pJ
    assert prices["unified_buffer.read_byte"] == pytest.approx(2)  # 16 pJ for 64 bits
    assert prices["unified_buffer.write_byte"] == pytest.approx(4)
    assert prices["mac.int8"] == pytest.approx(0.1)
    assert prices["accumulator.add"] is None
    # 0.2 + 2 x 0.01 + 64 x (0.00001 + 0.0001) mm2
    assert spec.area_mm2 == pytest.approx(0.2 + 0.02 + 64 * 0.00011)
    assert prices["static.second"] == pytest.approx(1e9)  # a milliwatt, pJ each second


def test_timeloop_becomes_a_chip() -> None:
    _, chip = find(str(TIMELOOP))
    spec = chip.spec
    assert (spec.array.rows, spec.array.cols, spec.array.units) == (6, 5, 1)
    assert spec.array.dataflow == "output_stationary"  # of what PEs keep, most are outputs
    assert dict(spec.array.formats) == {"int16": 1}
    assert spec.clock_hz == pytest.approx(500e6)
    assert spec.memories.unified_buffer_bytes == 2048 * 8
    assert spec.dram.bandwidth_bytes_per_s == pytest.approx(4 * 500e6)
    assert all(spec.prices[name] is None for name in ("dram.read_byte", "mac.int16"))


@pytest.mark.parametrize("path", [ACCELFORGE, TIMELOOP], ids=["accelforge", "timeloop"])
def test_every_field_is_carried_or_named(path: Path) -> None:
    _, chip = find(str(path))
    file = read(path)
    said = " ".join(chip.warnings)
    carried = [each for each in chip.provenance if path.name in each.source]
    for component in (*file.components, file.common):
        own = [w for w in chip.warnings if f": {component.name} (line" in w] or [said]
        for name in component.fields:
            line = component.fields[name].place.line
            taken = any(f"line {line}," in each.source for each in carried) or name in _ROLES
            assert taken or name in own[0], (component.name, name)
    assert all(each.grade in ("user", "assumed") for each in chip.provenance)
    assert {"array.rows", "array.cols"} <= {e.field for e in carried if e.grade == "user"}


# read to choose what a component is, or added up over all of them
_ROLES = {
    *("tensors.keep", "constraints.dataspace.keep", "area", "leak_power", "size"),
    *("actions.read.bits_per_action", "attributes.technology", "attributes.depth"),
    *("attributes.width", "attributes.datawidth", "attributes.multiplier_width"),
    *("attributes.global_cycle_seconds", "attributes.read_bandwidth", "version"),
    "extra_attributes_for_all_component_models.tech_node",
    *("spatial.Tile.fanout", "spatial.a.fanout", "spatial.a.reuse", "spatial.b.fanout"),
    *("spatial.b.reuse", "spatial.meshX", "spatial.meshY"),
}


def test_what_is_not_carried_is_named_by_component() -> None:
    _, chip = find(str(ACCELFORGE))
    said = [w.partition(": ")[2] for w in chip.warnings if w.startswith("not carried")]
    assert said == [
        "OffChip (line 5): tensors.keep, tensors.may_keep",
        "Shared (line 14): total_latency, actions.read.throughput",
        "WeightStore (line 24): spatial.Tile.min_usage",
        "Wire (line 31), a whole component with direction",
        "Register (line 41), a whole component with size, tensors.keep",
        "the file: mapper.metrics",
    ]


@pytest.mark.parametrize("path", [ACCELFORGE, TIMELOOP], ids=["accelforge", "timeloop"])
def test_the_yaml_it_is_printed_as_is_the_same_chip(path: Path, tmp_path: Path) -> None:
    _, chip = find(str(path), ["array.rows=3"])
    own = tmp_path / "mine.yaml"
    own.write_text(find(str(path))[1].text, "utf-8")
    assert find(str(own), ["array.rows=3"])[1].spec == chip.spec


def edited(tmp_path: Path, old: str, new: str, path: Path = ACCELFORGE) -> str:
    text = path.read_text("utf-8")
    assert old in text
    file = tmp_path / "bad.yaml"
    file.write_text(text.replace(old, new), "utf-8")
    return str(file)


BAD = [
    ("arch:\n", "{% set x = 1 %}\narch:\n", ":2:1: the file must be plain YAML, not a Jinja "
     "template with '{%'; render it first, then import the result"),
    ("size: 1024 * 64 * 8", "size: {{ SIZE }}", ":16:11: the file must be plain YAML, not a "
     "Jinja template with '{{'; render it first, then import the result"),
    ("!Toll", "!Wormhole", ":31:5: a node must be one of !Memory, !Compute, !Toll, !Container, "
     "!Hierarchical, !Parallel, !Fork, !Array, !Pipelined, !Component, !Nothing, not "
     "'!Wormhole'; take it out or write it as one of them"),
    ("  - !Toll\n    name", "  - name", ":31:5: a node must have a tag, not none; write "
     "'- !Memory', '- !Compute', '- !Container' or '- !Component'"),
    ("fanout: 8", "fanout: inf", ":40:17: fanout must be a number of copies from 1 up, not "
     "'inf'; write it as a number"),
    ("fanout: 8", "fanout: 2.5", ":40:17: fanout must be a number of copies from 1 up, not "
     "'2.5'; write it as a number"),
    ("size: 1024 * 64 * 8", "size: glb_size", ":14:5: memory 'Shared' must have a size that is "
     "a number, not an expression or inf; write its bits"),
    ("!Compute", "!Toll", ":2:1: the architecture must have a compute unit, not memories "
     "alone; add a '!Compute' or a '!Component' of a class like intmac"),
    ("keep: input | output", "keep: weight", ":2:1: the architecture must have an on-chip "
     "memory for activations above its array, not none; add one that keeps inputs"),
    ("  nodes:", "  subtree:", ":4:3: arch must list its nodes as version 0.4 does, not have "
     "'subtree' of an earlier one; convert it with that tool"),
    ("mapper:", "architecture:", ":53:1: the file must have arch or architecture, not both; "
     "keep one"),
    ("leak_power: 1e-3", "leak_power: &x 1e-3", ":17:17: a chip must do without anchors and "
     "aliases, not use 'x'; write the value out"),
    ("fanout: 8", "fanout: 100000", ":40:17: array.rows"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "message"), BAD, ids=range(len(BAD)))
def test_a_bad_file_is_refused_at_its_place(
    old: str, new: str, message: str, tmp_path: Path
) -> None:
    path = edited(tmp_path, old, new)
    with pytest.raises(SpecError) as caught:
        find(path)
    text = str(caught.value)
    if message == ":40:17: array.rows":
        assert text.startswith(path + message)
    else:
        assert text == path + message


def test_no_array_and_deep_nesting_are_refused(tmp_path: Path) -> None:
    flat = ACCELFORGE.read_text("utf-8")
    for line in ("    spatial: [{name: Tile, fanout: 2, min_usage: 1}]\n",
                 "    spatial:\n    - {name: a, fanout: 4, reuse: input}\n"
                 "    - {name: b, fanout: 8, reuse: output}\n"):  # fmt: skip
        assert line in flat
        flat = flat.replace(line, "")
    path = tmp_path / "flat.yaml"
    path.write_text(flat, "utf-8")
    with pytest.raises(SpecError) as caught:
        find(str(path))
    assert str(caught.value) == (
        f"{path}:2:1: the architecture must have a spatial array of two dimensions above "
        "'Multiplier', not 0; write its fanouts under 'spatial', 1 for a dimension that it "
        "lacks"
    )
    nested = "nodes: [!Container {" * 40 + "}]" * 40
    path.write_text("arch: {" + nested + "}\n", "utf-8")
    with pytest.raises(SpecError, match="must nest at most 16 deep"):
        find(str(path))


def test_only_such_files_are_taken_for_one(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for text, expected in [
        ("arch: {}\n", True),
        ("# arch:\nname: x\n", False),
        ("name: x\nfamily: systolic\narch: 3\n", False),
        ("  arch: 3\n", False),
    ]:
        path.write_text(text, "utf-8")
        assert is_architecture(path) is expected


def test_arithmetic_is_read_and_nothing_else_is() -> None:
    assert number("1024*1024*128*8") == 2**30
    assert number("8 * 614e9") == 4.912e12
    assert number("-(2 + 3) / 4 // 1 % 2") == pytest.approx(-5 / 4 // 1 % 2)
    assert number("inf") == float("inf")
    for text in (
        *("a.n_calls", "max(1, 2)", "__import__('os')", "1 if x else 0", "9**9**9", "1/0"),
        *("", "True", "(" * 300, "1" * 300, "inf - inf", "(-8)**0.5", "'a' * 3", "[1]"),
    ):
        assert number(text) is None, text
    assert whole("4 * 2") == 8
    assert whole("0") is whole("inf") is whole("1.5") is None


@given(st.text(max_size=60))
def test_no_text_breaks_the_arithmetic(text: str) -> None:
    found = number(text)
    assert found is None or isinstance(found, float)


def test_the_command_prints_a_chip_and_names_the_rest(
    capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from tetrapla.__main__ import run

    command: Callable[..., int] = run
    assert command(["arch", "import", str(ACCELFORGE)]) == 0
    out, err = capsys.readouterr()
    assert out.startswith("# accelforge.yaml, a file of AccelForge\n# not carried: OffChip")
    assert 'rows: {value: 8, source: "accelforge.yaml line 40, b"}' in out
    assert "note: not carried from accelforge.yaml: Wire (line 31)" in err
    own = tmp_path / "own.yaml"
    own.write_text("name: x\n", "utf-8")
    assert command(["arch", "import", str(own)]) == 2
    assert capsys.readouterr().err == (
        f"error: {own}: the file must have the key arch (AccelForge) or architecture (Timeloop "
        "v4) on top, not be of another kind; a chip's own YAML needs no import\n"
    )


def test_an_imported_chip_runs_bit_exact(tmp_path: Path) -> None:
    import tetrapla

    model = Path(__file__).parents[2] / "examples" / "digits_mlp.onnx"
    report: Any = tetrapla.simulate(model, str(ACCELFORGE), data="digits", samples=2)
    assert report.cross_check.kind == "bit_exact"
    assert report.cross_check.passed
    assert report.energy.total_pj is None
    assert np.isfinite(report.time_s)
