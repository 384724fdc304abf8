"""The distribution holds every folder and every data file that the code needs."""

from __future__ import annotations

import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LAYERS = ("frontend", "ir", "passes", "backends", "rtl", "simulators")


def setuptools() -> dict[str, dict[str, list[str]]]:
    with (ROOT / "pyproject.toml").open("rb") as file:
        found: dict[str, dict[str, list[str]]] = tomllib.load(file)["tool"]["setuptools"]
    return found


def folders() -> set[str]:
    """Every folder with an __init__.py, as the package that it is."""
    found = {"tetrapla"}
    found |= {f"tetrapla.{p.parent.name}" for p in (ROOT / "tetrapla").glob("*/__init__.py")}
    for layer in LAYERS:
        for init in (ROOT / layer).rglob("__init__.py"):
            found.add(".".join(("tetrapla", *init.parent.relative_to(ROOT).parts)))
    return found


def test_every_folder_with_an_init_is_a_listed_package() -> None:
    assert set(setuptools()["packages"]) == folders()


def test_every_folder_with_code_has_an_init() -> None:
    for layer in (*LAYERS, "tetrapla/commands"):
        for path in (ROOT / layer).rglob("*.py"):
            assert (path.parent / "__init__.py").is_file(), path.parent


def test_every_layer_is_mapped_and_linked() -> None:
    mapped = setuptools()["package-dir"]
    for layer in LAYERS:
        assert mapped[f"tetrapla.{layer}"] == layer
        assert (ROOT / "tetrapla" / layer / "__init__.py").is_file()


def test_data_files_match_the_listed_patterns() -> None:
    patterns = setuptools()["package-data"]
    for name in (
        *("page.css", "digits.npz", "digits_cnn.onnx"),
        "golden/scalesim/scalesim3_measured.csv",
    ):
        path = Path("data") / name
        assert (ROOT / "tetrapla" / path).is_file()
        assert any(path.match(pattern) for pattern in patterns["tetrapla"])
    assert patterns["tetrapla.rtl"] == ["*.sv"]
    assert {"chips/*.yaml", "costs/*.yaml"} <= set(patterns["tetrapla.simulators"])


def test_no_other_distribution_gives_the_name() -> None:
    # a second copy under the same name would be tested in place of this one
    assert packages_distributions().get("tetrapla", ["tetrapla"]) == ["tetrapla"]
