"""What `tetrapla rtl` refuses before anything is built; `tests/rtl` holds what it does."""

from __future__ import annotations

from pathlib import Path
from typing import Any

Refused = Any  # the fixture's, see conftest


def test_a_target_of_another_family_is_named(refused: Refused, cnn: str) -> None:
    refused(
        "rtl must have a systolic target, not h100 of the family gpu; name a systolic chip",
        *("rtl", cnn, "--target", "h100"),
    )


def test_a_chip_that_the_rtl_lacks_is_refused_before_the_model_is_read(
    refused: Refused,
) -> None:
    refused(
        "array.units must be 1 for the RTL, not 8; take a chip of one dense int8 array, or "
        "simulate without the RTL",
        *("rtl", "no-such-file.onnx", "--target", "tpu-v4"),
    )


def test_a_recording_needs_a_layer_and_a_file(
    refused: Refused, cnn: str, tmp_path: Path
) -> None:
    message = "--vcd and --layer must come together; give both, or neither"
    words = ("rtl", cnn, "--target", "tpu-v1", "--data", "digits")
    refused(message, *words, "--layer", "conv1")
    refused(message, *words, "--vcd", tmp_path / "a.vcd")


def test_one_file_cannot_hold_two_things(refused: Refused, cnn: str, tmp_path: Path) -> None:
    file = tmp_path / "a"
    words = ("--vcd", file, "--layer", "conv1", "--json", file)
    refused(
        f"output file '{file}' must be named once; choose two names",
        *("rtl", cnn, "--target", "tpu-v1", "--data", "digits", *words),
    )


def test_a_model_without_values_is_refused(refused: Refused, tmp_path: Path) -> None:
    table = tmp_path / "net.csv"
    table.write_text("Layer,M,N,K\nproduct,8,8,8\n", "utf-8")
    refused(
        "model 'net' must have weights for the RTL to compute with, not shapes alone; load it "
        "from a file that holds them",
        *("rtl", table, "--target", "tpu-v1"),
    )
