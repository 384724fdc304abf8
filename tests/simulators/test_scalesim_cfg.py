"""SCALE-Sim's configuration files: read as it reads them, refused by file, line and column."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from tetrapla.backends.target_ import find
from tetrapla.ir.errors import SpecError, TetraplaError
from tetrapla.simulators.spec_ import load_spec
from tetrapla.simulators.systolic.scalesim.cfg import read
from tetrapla.simulators.systolic.scalesim.chip import load
from tetrapla.simulators.systolic.spec import SystolicSpec

FULL = """[general]
run_name = edge of a chip

[architecture_presets]
ArrayHeight:    16
arraywidth =    8
# a comment
IfmapSramSzkB:   64
FilterSramSzkB:  32
OfmapSramSzkB:   16
IfmapOffset:    0
FilterOffset:   10000000
OfmapOffset:    20000000
Bandwidth : 10,20
Dataflow : is
MemoryBanks:   1
ReadRequestBuffer: 32
WriteRequestBuffer: 32

[layout]
IfmapCustomLayout: False
IfmapSRAMBankBandwidth: 12
IfmapSRAMBankNum: 10
IfmapSRAMBankPort: 2
FilterCustomLayout: False
FilterSRAMBankBandwidth: 14
FilterSRAMBankNum: 10
FilterSRAMBankPort: 2

[sparsity]
SparsitySupport : false
SparseRep : ellpack_block
OptimizedMapping : false
BlockSize : 8
RandomNumberGeneratorSeed : 40

[run_presets]
InterfaceBandwidth: USER
UseRamulatorTrace: False
"""


def written(tmp_path: Path, text: str | bytes) -> Path:
    path = tmp_path / "c.cfg"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_a_file_is_a_chip(tmp_path: Path) -> None:
    target, chip = find(str(written(tmp_path, FULL)))
    spec: SystolicSpec = chip.spec
    assert (target.family, chip.name) == ("systolic", "edge of a chip")
    array = spec.array
    assert (array.rows, array.cols, array.dataflow) == (16, 8, "input_stationary")
    assert spec.memories.unified_buffer_bytes == 64 * 1024
    assert spec.memories.weight_tiles == 32 * 1024 // (16 * 8)
    assert spec.memories.accumulator_rows == 16 * 1024 // (4 * 8)
    # three ports of 12, 14 and 10 words a cycle; the second Bandwidth is never read
    assert spec.dram.bandwidth_bytes_per_s == 36 * spec.clock_hz
    assert set(spec.cost.values()) == {None}
    (rows,) = (entry for entry in chip.provenance if entry.field == "array.rows")
    assert (rows.value, rows.source, rows.grade) == ("16", "ArrayHeight, line 5", "user")
    assert chip.warnings == (
        "SCALE-Sim ignores, and so does this: MemoryBanks, SparseRep (without "
        "SparsitySupport), OptimizedMapping (without SparsitySupport), BlockSize (without "
        "OptimizedMapping), RandomNumberGeneratorSeed (without SparsitySupport)",
        "SCALE-Sim gives no clock and no prices: time_s counts cycles of 1 GHz (--set "
        "clock=... and dram.bandwidth=...), and energy is null",
    )


def test_its_text_is_a_chip_of_its_own(tmp_path: Path) -> None:
    chip = load(written(tmp_path, FULL), ["array.rows=32"])
    assert chip.spec.array.rows == 32
    path = tmp_path / "c.yaml"
    path.write_text(load(written(tmp_path, FULL)).text, "utf-8")
    assert load_spec(path, SystolicSpec).spec == load(written(tmp_path, FULL)).spec


def test_missing_sections_take_the_defaults_of_scalesim(tmp_path: Path) -> None:
    chip = load(written(tmp_path, "[run_presets]\nInterfaceBandwidth = CALC\n"))
    array = chip.spec.array
    assert (array.rows, array.cols, array.dataflow) == (4, 4, "weight_stationary")
    assert chip.spec.memories.unified_buffer_bytes == 256 * 1024
    assert chip.name == "scale_run"
    # CALC never stalls: 4 rows in, 4 columns of weights in, 4 columns out
    assert chip.spec.dram.bandwidth_bytes_per_s == 12 * chip.spec.clock_hz
    assert chip.warnings[0].startswith(
        "not in the file, SCALE-Sim's defaults: run_name scale_run, UseRamulatorTrace False, "
        "ArrayHeight 4, ArrayWidth 4, IfmapSramSzkB 256, "
    )


def test_what_is_not_modelled_is_said(tmp_path: Path) -> None:
    text = FULL.replace("UseRamulatorTrace: False", "UseRamulatorTrace: True")
    text = text.replace("IfmapCustomLayout: False", "IfmapCustomLayout: yes")
    assert load(written(tmp_path, text)).warnings[2:] == (
        "IfmapCustomLayout is not modelled: its bank conflicts or DRAM latencies do not count",
        "UseRamulatorTrace is not modelled: its bank conflicts or DRAM latencies do not count",
    )


def test_keys_of_switched_on_sparsity_are_read(tmp_path: Path) -> None:
    text = FULL.replace("SparsitySupport : false", "SparsitySupport : TRUE")
    config = read(written(tmp_path, text))
    assert config.flag("SparsitySupport")
    assert config.text("SparseRep") == "ellpack_block"
    assert config.ignored == ("MemoryBanks", "BlockSize (without OptimizedMapping)")


BAD: dict[str, tuple[str, str, str]] = {
    "a word for a number": (
        "ArrayHeight:    16",
        "ArrayHeight:    big",
        ":5:17: ArrayHeight must be a whole number of at least 1, not 'big'",
    ),
    "an empty array": (
        "arraywidth =    8",
        "arraywidth =    0",
        ":6:17: ArrayWidth must be a whole number of at least 1, not '0'",
    ),
    "a comment behind": (
        "IfmapSramSzkB:   64",
        "IfmapSramSzkB:   64 # kB",
        ":8:18: IfmapSramSzkB must be a whole number of at least 1, not '64 # kB'",
    ),
    "a huge array": (
        "ArrayHeight:    16",
        "ArrayHeight:    99999",
        ":5:17: array.rows must be at most 4095, not 99999; give a smaller one",
    ),
    "a number of many digits": (
        "ArrayHeight:    16",
        "ArrayHeight:    9999999999999999",
        ":5:17: ArrayHeight must have at most 15 digits, not 16; give a smaller number",
    ),
    "another dataflow": (
        "Dataflow : is",
        "Dataflow : OS",
        ":15:12: Dataflow must be os or ws or is, not 'OS'; did you mean 'os'?",
    ),
    "another mode": (
        "InterfaceBandwidth: USER",
        "InterfaceBandwidth: user",
        ":38:21: InterfaceBandwidth must be CALC or USER, not 'user'; did you mean 'USER'?",
    ),
    "a bad bandwidth": (
        "Bandwidth : 10,20",
        "Bandwidth : 10,x",
        ":14:13: Bandwidth must be whole numbers of words per cycle, not '10,x'; write 10 or "
        "10,10,10",
    ),
    "a bad switch": (
        "FilterCustomLayout: False",
        "FilterCustomLayout: perhaps",
        ":25:21: FilterCustomLayout must be True or False, not 'perhaps'",
    ),
    "a bad sparsity": (
        "SparsitySupport : false",
        "SparsitySupport : no",
        ":31:19: SparsitySupport must be true or false, not 'no'",
    ),
    "an interpolation": (
        "ArrayHeight:    16",
        "ArrayHeight:    %(x)s",
        ":5:17: ArrayHeight must not refer to other keys by '%'; write %%",
    ),
    "a key twice": (
        "arraywidth =    8",
        "ArrayHeight: 4",
        ":6:1: the file must be INI text: the key arrayheight must be given once; remove one",
    ),
    "a section twice": (
        "[layout]",
        "[general]",
        ":20:1: the file must be INI text: the section [general] must be given once",
    ),
    "no section": (
        "[general]\n",
        "",
        ":1:1: the file must be INI text: a section such as [general] must come before the "
        "first key",
    ),
    "no key": (
        "# a comment",
        "a comment",
        ":7:1: the file must be INI text: a line must be [section] or key = value",
    ),
    "NUL": ("16", "1\0006", ": the file must be text, not bytes with NUL in them"),
    "blocks over the array": (
        "[sparsity]\nSparsitySupport : false\nSparseRep : ellpack_block\n"
        "OptimizedMapping : false\nBlockSize : 8",
        "[sparsity]\nSparsitySupport : true\nSparseRep : ellpack_block\n"
        "OptimizedMapping : true\nBlockSize : 32",
        ":34:13: BlockSize must be at most ArrayHeight, 16, not 32",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_value_is_refused_at_its_place(tmp_path: Path, case: str) -> None:
    old, new, message = BAD[case]
    assert old in FULL
    path = written(tmp_path, FULL.replace(old, new, 1))
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{message}"


def test_every_defect_is_told_at_once(tmp_path: Path) -> None:
    text = FULL.replace("ArrayHeight:    16", "ArrayHeight: -1").replace(" is\n", " rs\n")
    path = written(tmp_path, text)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value).splitlines() == [
        f"{path}:5:14: ArrayHeight must be a whole number of at least 1, not '-1'",
        f"{path}:15:12: Dataflow must be os or ws or is, not 'rs'",
    ]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        (b"\xff\xfe[general]", " must be UTF-8 text, not bytes like 0xff"),
        (b"[a]\n" + b"x: 1\n" * 60_000, " must have at most 262144 bytes, not 300004"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path: Path, content: bytes, rule: str) -> None:
    path = written(tmp_path, content)
    with pytest.raises(SpecError) as caught:
        load(path)
    assert str(caught.value) == f"{path}{rule}"


def test_broken_files_are_chips_or_refused(tmp_path: Path) -> None:
    rng, letters = random.Random(1), b"%[]()=:;#\n\r\t 0919\0\xc3\xa9"
    refused: list[str] = []
    path = tmp_path / "c.cfg"
    for _ in range(300):
        text = bytearray(FULL.encode())
        for _ in range(rng.randint(1, 6)):
            at = rng.randrange(len(text))
            match rng.randrange(3):
                case 0:
                    text[at] = rng.randrange(256)
                case 1:
                    del text[at : at + rng.randint(1, 30)]
                case _:
                    text[at:at] = rng.choices(letters, k=rng.randint(1, 5))
        path = written(tmp_path, bytes(text))
        try:
            load(path)
        except TetraplaError as error:
            refused.append(str(error))
    assert 0 < len(refused) < 300
    assert all(message.startswith(str(path)) for message in refused)
