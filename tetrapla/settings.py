"""What a person may choose for a run; the same for the command line and for Python."""

from __future__ import annotations

import shlex
from dataclasses import dataclass

from tetrapla.ir.errors import ModelError

MAX_SEED = 2**32 - 8  # a generator key holds 32 bits, and noise takes the seeds behind it
_PLAIN = ("data", "calib", "calib_fraction", "samples", "quant", "timesteps", "batch")


@dataclass(frozen=True)
class Settings:
    """The common options; `words` gives them back as a command line.

    Args:
        data: "digits" or the path of an .npz; None draws inputs from the seed.
        calib: an .npz with calibration data.
        calib_fraction: the leading share of `data` that calibrates.
        samples: run the first so many samples only.
        dims: sizes of symbolic dimensions, by name.
        seed: of every random number.
        quant: "int8", "none", or None for the chip's own format.
        timesteps: T of a spiking target, or None for its default.
        batch: size of a symbolic leading dimension, or None for 1.
        ideal: every non-ideality of the machine is off.
        overrides: ``FIELD=VALUE`` over the chip's YAML.
    """

    data: str | None = None
    calib: str | None = None
    calib_fraction: float | None = None
    samples: int | None = None
    dims: tuple[tuple[str, int], ...] = ()
    seed: int = 0
    quant: str | None = None
    timesteps: int | None = None
    batch: int | None = None
    ideal: bool = False
    overrides: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("samples", 1), ("timesteps", 1), ("batch", 1), ("seed", 0)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise ModelError(f"--{name} must be at least {least}, not {value}")
        if self.seed > MAX_SEED:
            raise ModelError(f"--seed must be at most {MAX_SEED}, not {self.seed}")
        if self.data is None and (self.calib or self.calib_fraction is not None):
            raise ModelError("--calib and --calib-fraction must come with --data, not alone")
        if self.quant not in (None, "int8", "none"):
            raise ModelError(f"--quant must be int8 or none, not {self.quant}")

    def words(self) -> list[str]:
        """The options that differ from their defaults, as command line words."""
        found: list[str] = []
        for name in (
            "data",
            "calib",
            "calib_fraction",
            "samples",
            "quant",
            "timesteps",
            "batch",
        ):
            value = getattr(self, name)
            if value is not None:
                found += [f"--{name.replace('_', '-')}", str(value)]
        for name, size in self.dims:
            found += ["--dim", f"{name}={size}"]
        if self.seed:
            found += ["--seed", str(self.seed)]
        if self.ideal:
            found.append("--ideal")
        for override in self.overrides:
            found += ["--set", override]
        return found


def command(verb: str, models: list[str], names: list[str], settings: Settings) -> str:
    """The command that repeats a run, without its output paths."""
    flag = "--target" if verb in ("simulate", "sweep", "compile") else "--targets"
    words = ["tetrapla", verb, *models, flag, ",".join(names), *settings.words()]
    return shlex.join(words)


def parse_dims(texts: list[str]) -> tuple[tuple[str, int], ...]:
    """Read ``NAME=SIZE`` options.

    Raises:
        ModelError: one has no name, or its size is no whole number above zero.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, _, size = text.partition("=")
        if not name or not size.isascii() or not size.isdigit() or not 0 < int(size) < 2**31:
            raise ModelError(f"--dim must be NAME=SIZE with a size above 0, not '{text}'")
        found[name] = int(size)
    return tuple(found.items())
