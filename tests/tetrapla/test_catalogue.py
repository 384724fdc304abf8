"""`targets`, `arch show`, `schema`, `doctor`: what a person learns of chips before a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tetrapla.backends.target_ import families, find, target
from tetrapla.catalogue import HEADINGS, Entry, catalogue, cells, schemas
from tetrapla.doctor import OPTIONAL
from tetrapla.simulators.editor_ import commented
from tetrapla.simulators.fields_ import field_text, models_of
from tetrapla.simulators.leaves_ import leaves
from tetrapla.simulators.report import to_json
from tetrapla.simulators.spec_ import chips, load_spec, unsourced
from tetrapla.simulators.yaml_ import Mapping, Scalar, Sequence, Tree, read_text

Cli = Callable[..., Any]
ROOT = Path(__file__).resolve().parent.parent.parent
SCHEMAS = ROOT / "docs" / "schema"
CHIPS = tuple(chips())
# what the machines' issues name, by family
NAMED = {
    "systolic": "tpu-v1 tpu-v2 tpu-v3 tpu-v4 tpu-v4i tpu-v5e edge-tpu eyeriss gemmini "
    "vta-ultra96",
    "roofline": "ascend-910b ane groq-tsp cerebras-wse2 graphcore-ipu hexagon northpole",
    "gpu": "gtx-580 p100 v100 t4 a100 a40 l4 h100 h200 b200 mi300x",
    "spiking": "loihi loihi2 truenorth spinnaker spinnaker2 speck akida",
    "analog": "isaac puma hermes neurram mythic-m1076 sonos-xiao2022 rram-22nm-8mb "
    "mark1-perceptron albireo lightmatter-envise",
}


@cache
def entries() -> tuple[Entry, ...]:
    return tuple(catalogue())


def plain(tree: Tree) -> Any:
    """A file as an editor's validator sees it."""
    match tree:
        case Scalar():
            return tree.value
        case Sequence():
            return [plain(item) for item in tree.items]
        case Mapping():
            return {key: plain(item) for key, item in tree.entries.items()}


def test_every_chip_that_was_named_is_in_the_catalogue() -> None:
    found: dict[str, set[str]] = {}
    for entry in entries():
        found.setdefault(entry.family, set()).add(entry.name)
    assert {family: set(names.split()) for family, names in NAMED.items()} == found


def test_targets_lists_every_chip_and_nothing_unknown_is_zero() -> None:
    for entry in entries():
        row = dict(zip(HEADINGS, cells(entry), strict=True))
        spec = find(entry.name)[1].spec
        assert (row["TDP"] == "n/a") == (spec.chip.tdp_w is None)
        assert (row["node"] == "n/a") == (spec.chip.node_nm is None)
        assert (row["area"] == "n/a") == (spec.area_mm2 is None)
        assert "0 B" not in (row["on chip"], row["off chip"])
        assert sum(entry.evidence.values()) + len(
            [e for e in find(entry.name)[1].provenance if e.grade == "user"]
        ) == len(find(entry.name)[1].provenance)


@pytest.mark.parametrize(
    ("name", "row"),
    [
        # 256 x 256 x 2 x 700 MHz; 24 MiB + 4 tiles of 16 bits, 128 KiB + 4096 x 256 x 4 B
        ("tpu-v1", ("28 nm", "91.8 TOPS int8", "29.9 MB", "8.59 GB", "75 W", "28.0 W")),
        # 132 x 1.83 GHz x 4096
        ("h100", ("4 nm", "989 TFLOPS fp16", "50.0 MB", "80.0 GB", "700 W", "80.0 W")),
        ("groq-tsp", ("14 nm", "750 TOPS int8", "231 MB", "n/a", "300 W", "n/a")),
        ("ane", ("5 nm", "15.8 TFLOPS fp16", "n/a", "4.00 GB", "n/a", "n/a")),
        ("loihi2", ("n/a", "n/a", "16.8 MB", "n/a", "n/a", "n/a")),
    ],
)
def test_a_chips_line_is_what_its_file_says(name: str, row: tuple[str, ...]) -> None:
    (entry,) = [entry for entry in entries() if entry.name == name]
    assert cells(entry)[1:7] == row


def test_targets_on_a_terminal_of_100_columns_and_as_json(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    done = cli("targets", "gpu", "--json", tmp_path / "t.json")
    assert done.status == 0
    table = done.out.splitlines()[:14]
    assert table[0] == "gpu: 11 chips"
    assert max(map(len, table)) <= 100
    assert any(line.startswith("h100*    4 nm   989 TFLOPS fp16") for line in table)
    found = json.loads((tmp_path / "t.json").read_text("utf-8"))
    assert found["schema"] == "tetrapla.targets/1"
    h100 = next(entry for entry in found["targets"] if entry["name"] == "h100")
    assert h100["peak_how"] == "streaming_multiprocessors x clock x throughput.fp16"
    assert round(h100["peak_op_per_s"] / 1e12) == 989
    assert h100["evidence"].keys() == {"measured", "published", "derived", "assumed"}


def test_a_family_that_is_not_there_is_refused(refused: Callable[..., None]) -> None:
    known = ", ".join(families())
    message = f"FAMILY must be one of {known}, not 'sistolic'; did you mean 'systolic'?"
    refused(message, "targets", "sistolic")
    refused(message, "schema", "sistolic")


# arch show


@pytest.mark.parametrize("name", CHIPS)
def test_the_commented_yaml_is_the_same_chip_and_can_be_edited(
    name: str, tmp_path: Path
) -> None:
    found, chip = find(name)
    text = commented(chip)
    path = tmp_path / "mine.yaml"
    path.write_text(text, "utf-8")
    again = load_spec(path, found.spec_type)
    assert (again.spec, again.provenance) == (chip.spec, chip.provenance)
    assert plain(read_text(text, "x")) == plain(read_text(chip.text, "x"))
    edited = text.replace(f"\nname: {name}\n", "\nname: mine\n", 1)
    path.write_text(edited, "utf-8")
    assert load_spec(path, found.spec_type).spec.name == "mine"


def test_a_comment_says_meaning_unit_and_range() -> None:
    lines = commented(find("tpu-v1")[1]).splitlines()
    row = next(i for i, line in enumerate(lines) if line.startswith("clock: {value: 700 MHz"))
    assert " ".join(line.removeprefix("# ") for line in lines[row - 1 : row]) == (
        "of the array, the vector unit and the instructions; a quantity in Hz, above 0 Hz (as "
        "64 MHz)"
    )


def test_every_field_of_every_family_is_explained() -> None:
    silent: list[str] = []

    def walk(model: Any) -> None:
        for name, entry in model.model_fields.items():
            inner = models_of(entry.annotation)
            if not inner and not field_text(model, name):
                silent.append(f"{model.__name__}.{name}")
            for each in inner:
                walk(each)

    for family in families():
        walk(target(family).spec_type)
    assert sorted(set(silent)) == []


# schema


@pytest.mark.parametrize("family", families())
def test_the_kept_schema_is_what_the_command_prints(family: str) -> None:
    # to renew: for each family, tetrapla schema FAMILY -o docs/schema/FAMILY.json
    kept = (SCHEMAS / f"{family}.json").read_text("utf-8")
    assert kept == to_json(schemas(family))


@pytest.mark.parametrize("name", CHIPS)
def test_every_chip_satisfies_its_familys_schema(name: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra test")
    text = chips()[name].read_text("utf-8")
    schema = schemas(find(name)[1].spec.family)
    jsonschema.Draft202012Validator(schema).validate(plain(read_text(text, name)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("  cols: {value: 256", "  colums: {value: 256"),
        ("700 MHz", "700"),
        ("24 MiB", "24 MB2"),
        ("rows: {value: 256", "rows: {value: 0"),
        ("grade: derived", "grade: derivd"),
        ("dataflow: weight_stationary", "dataflow: weight_stationery"),
    ],
)
def test_the_schema_refuses_what_the_program_refuses(old: str, new: str) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra test")
    text = chips()["tpu-v1"].read_text("utf-8")
    assert old in text
    wrong = plain(read_text(text.replace(old, new, 1), "x"))
    check = jsonschema.Draft202012Validator(schemas("systolic"))
    assert check.is_valid(plain(read_text(text, "x")))
    assert not check.is_valid(wrong)


def test_the_schema_of_all_families_takes_a_chip_of_each(cli: Cli) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema is in the extra test")
    check = jsonschema.Draft202012Validator(json.loads(cli("schema").out))
    for family in families():
        chip = find(family)[1]
        assert check.is_valid(plain(read_text(chip.text, "x")))


# sources


def test_a_planted_number_without_source_is_found_in_every_leaf(tmp_path: Path) -> None:
    """Every numeric leaf of a chip of each family, with its source taken away, is named."""
    for family in families():
        chip = find(family)[1]
        tree = read_text(chip.text, "x")
        numeric = [leaf for leaf in leaves(tree, []).leaves if leaf.looks_numeric]
        assert len(numeric) > 3
        bare = "".join(
            f"{line.split(', source:')[0]}}}\n" if ", source:" in line else f"{line}\n"
            for line in chip.text.splitlines()
            if not line.lstrip().startswith(("source:", "grade:"))
        )
        path = tmp_path / f"{family}.yaml"
        path.write_text(bare, "utf-8")
        assert len(unsourced(path)) == len(numeric)


# doctor


def test_doctor_names_versions_and_what_needs_what_is_missing(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tetrapla import doctor

    real = doctor.installed

    def absent(name: str) -> str | None:
        return None if name == "optuna" else real(name)

    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(doctor, "installed", absent)
    done = cli("doctor", "--json", tmp_path / "d.json")
    assert done.status == 0
    row = next(line for line in done.out.splitlines() if line.startswith("optuna"))
    assert (
        row.split() == "optuna missing dse sweep --trials; pip install 'tetrapla[dse]'".split()
    )
    found = json.loads((tmp_path / "d.json").read_text("utf-8"))
    assert [p["version"] for p in found["parts"] if p["name"] == "optuna"] == [None]


def test_doctor_knows_the_extras_of_the_project() -> None:
    import tomllib

    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    for name, extra, _ in OPTIONAL:
        assert any(part.startswith(name) for part in extras[extra]), (name, extra)
