"""What a person may choose for a run; the same for the command line and for Python."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tetrapla.ir.errors import ModelError, nearest

MAX_SEED = 2**32 - 8  # a generator key holds 32 bits, and noise takes the seeds behind it
MAX_CHIPS = 100_000  # assumed: more is a typing error
ADDED = ("normalize", "region", "pue", "price_per_kwh")  # what a report gets beside its own
_PLAIN = (
    *("data", "calib", "calib_fraction", "samples", "quant", "timesteps", "code", "batch"),
    *("tuning", "discretisation", "dt", "chips", "least_accuracy"),
    *ADDED,
)
_QUANT = ("int8", "int4", "int16", "fp32", "tf32", "bf16", "fp16", "fp8", "none")
MAX_PUE = 10  # assumed: more is a typing error
_COMPAT = ("scalesim",)
_VALUES = ("data", "calib", "calib_fraction", "samples", "quant", "timesteps", "code", "ideal")
_DIGITS = 18  # fits 64 bits; more is a typing error


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
        quant: a number format, "none", a pipeline's text, or None for the chip's own format.
        timesteps: T of a spiking target, or None for its default.
        code: how a spiking target writes numbers as spikes, or None for its rate code.
        batch: size of a symbolic leading dimension, or None for 1.
        fixed: inputs that become constants, and the .npz files that hold their values.
        ideal: every non-ideality of the machine is off.
        overrides: ``FIELD=VALUE`` over the chip's YAML.
        compat: "scalesim" for another simulator's numbers in place of the machine's; None for
            ours.
        tuning: a file of tiles that were found on a GPU, for its plans.
        discretisation: how a .nir file's equations become timesteps, or None for what it says.
        dt: seconds of its timestep, or None for what it says.
        repair: a node of it without edges is the one that edges name in vain.
        chunk: column sums that an analog machine holds at once; no value depends on it, so
            `words` leaves it out.
        chips: how many of a noisy kind are simulated, by seeds from `seed` on; None for five.
        least_accuracy: what a good chip has, None for one point below the float model.
        normalize: a node or an area, "7nm" or "100mm2", to which figures are also scaled.
        region: a grid's code or country, for the emissions of CO2.
        pue: what a site draws over what its computers draw; None for `carbon.PUE`.
        price_per_kwh: of electricity, in any currency.
    """

    data: str | None = None
    calib: str | None = None
    calib_fraction: float | None = None
    samples: int | None = None
    dims: tuple[tuple[str, int], ...] = ()
    seed: int = 0
    quant: str | None = None
    timesteps: int | None = None
    code: str | None = None
    batch: int | None = None
    fixed: tuple[tuple[str, str], ...] = ()
    ideal: bool = False
    overrides: tuple[str, ...] = ()
    compat: str | None = None
    tuning: str | None = None
    discretisation: str | None = None
    dt: float | None = None
    repair: bool = False
    chunk: int | None = None
    chips: int | None = None
    least_accuracy: float | None = None
    normalize: str | None = None
    region: str | None = None
    pue: float | None = None
    price_per_kwh: float | None = None

    def __post_init__(self) -> None:
        least_of = {"samples": 1, "timesteps": 1, "batch": 1, "chunk": 1, "chips": 1, "seed": 0}
        for name, least in least_of.items():
            value = getattr(self, name)
            if value is not None and value < least:
                raise ModelError(f"--{name} must be at least {least}, not {value}")
        if self.seed > MAX_SEED:
            raise ModelError(f"--seed must be at most {MAX_SEED}, not {self.seed}")
        if (self.chips or 0) > MAX_CHIPS:
            raise ModelError(f"--chips must be at most {MAX_CHIPS}, not {self.chips}")
        if self.chips and self.seed + self.chips > 2**32:
            raise ModelError(
                f"--seed must leave {self.chips} seeds up to {2**32 - 1} for --chips, not be "
                f"{self.seed}; lower it"
            )
        good = self.least_accuracy
        if good is not None and not 0 <= good <= 1:
            raise ModelError(f"--least-accuracy must be from 0 to 1, not {good}; 0.97 is 97 %")
        if self.dt is not None and not 0 < self.dt < float("inf"):
            raise ModelError(f"--dt must be a number of seconds above 0, not {self.dt}")
        if self.data is None and (self.calib or self.calib_fraction is not None):
            raise ModelError("--calib and --calib-fraction must come with --data, not alone")
        fraction = self.calib_fraction
        if fraction is not None and not 0 < fraction < 1:
            raise ModelError(f"--calib-fraction must be between 0 and 1, not {fraction}")
        if self.calib and fraction is not None:
            raise ModelError(
                "--calib must not be given with --calib-fraction; drop one of them"
            )
        self._check_compat()
        self._check_added()
        text = self.quant or ""
        if "," in text and all(part in _QUANT for part in text.split(",")):
            raise ModelError(
                f"--quant must be one format or a pipeline, not the list '{text}'; sweep with "
                "--set quant=int8,int4"
            )
        if self.quant not in (None, *_QUANT) and "{" not in text and "," not in text:
            raise ModelError(
                f"--quant must be {', '.join(_QUANT)} or a pipeline like "
                f"'canonical,quantize{{weights=i4}}', not '{self.quant}'"
                f"{nearest(text, _QUANT)}"
            )

    def _check_added(self) -> None:
        if self.normalize is not None:
            from tetrapla.normalize import scale_of

            scale_of(self.normalize)
        from_one, price = self.pue, self.price_per_kwh
        if self.region is not None:
            from tetrapla.carbon import region

            region(self.region)
        if from_one is not None and not 1 <= from_one <= MAX_PUE:
            raise ModelError(
                f"--pue must be from 1 to {MAX_PUE}, not {from_one:g}; it is what a site draws "
                "over what its computers draw"
            )
        if price is not None and not 0 <= price < float("inf"):
            raise ModelError(f"--price-per-kwh must be at least 0, not {price:g}")
        if from_one is not None and self.region is None and price is None:
            raise ModelError("--pue must come with --region or --price-per-kwh, not alone")

    def _check_compat(self) -> None:
        if self.compat is None:
            return
        if self.compat not in _COMPAT:
            raise ModelError(
                f"--compat must be {', '.join(_COMPAT)}, not '{self.compat}'"
                f"{nearest(self.compat, _COMPAT) or '; leave it out for our own numbers'}"
            )
        for name in _VALUES:
            if getattr(self, name) not in (None, False):
                raise ModelError(
                    f"--compat {self.compat} must come without --{name.replace('_', '-')}: it "
                    "computes no values; drop one of them"
                )

    def words(self, lists: Mapping[str, Sequence[str]] | None = None) -> list[str]:
        """The options that differ from their defaults, as command line words.

        Args:
            lists: values of those that a comparison has several of, by field.
        """
        found: list[str] = []
        for name in _PLAIN:
            value = getattr(self, name)
            values = (lists or {}).get(name) or ([] if value is None else [str(value)])
            # a pipeline has commas of its own
            for text in values if any("," in each for each in values) else [",".join(values)]:
                found += [f"--{name.replace('_', '-')}", text] if text else []
        for name, size in self.dims:
            found += ["--dim", f"{name}={size}"]
        for name, file in self.fixed:
            found += ["--fix", f"{name}={file}"]
        if self.seed:
            found += ["--seed", str(self.seed)]
        for name in ("ideal", "repair"):
            if getattr(self, name):
                found.append(f"--{name}")
        if self.compat:
            found += ["--compat", self.compat]
        for override in self.overrides:
            found += ["--set", override]
        return found


def command(
    verb: str,
    models: Sequence[str],
    names: Sequence[str],
    settings: Settings,
    lists: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """The command that repeats a run, without its output paths."""
    flag = "--target" if verb in ("simulate", "sweep", "compile", "rtl") else "--targets"
    words = ["tetrapla", verb, *models, flag, ",".join(names), *settings.words(lists)]
    return shlex.join(words)


def parse_dims(texts: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Read ``NAME=SIZE`` options.

    Raises:
        ModelError: one has no name, its size is no whole number above zero, or it is given
            twice.
    """
    found: dict[str, int] = {}
    for text in texts:
        name, _, size = (part.strip() for part in text.partition("="))
        number = whole("--dim", size) if size.isascii() and size.isdigit() else 0
        if not name or not number or number >= 2**31:
            raise ModelError(
                f"--dim must be NAME=SIZE with a size above 0, not '{text}'; write batch=1"
            )
        if name in found:
            raise ModelError(f"--dim must name '{name}' once, not twice; drop one of them")
        found[name] = number
    return tuple(found.items())


def parse_fixed(texts: Sequence[str]) -> tuple[tuple[str, str], ...]:
    """Read ``NAME=FILE`` options.

    Raises:
        ModelError: one has no name or no file, or a name is given twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, _, file = (part.strip() for part in text.partition("="))
        if not name or not file:
            raise ModelError(f"--fix must be NAME=FILE, not '{text}'; write edges=edges.npz")
        if name in found:
            raise ModelError(f"--fix must name '{name}' once, not twice; drop one of them")
        found[name] = file
    return tuple(found.items())


def parse_formats(texts: Sequence[str]) -> tuple[str | None, ...]:
    """Read the ``--quant`` of a comparison: formats joined by commas, or one pipeline each.

    Raises:
        ModelError: a format is given twice.
    """
    found: list[str] = []
    for text in texts:
        parts = [part.strip() for part in text.split(",")]
        found += parts if all(part in _QUANT for part in parts) else [text]
    _once("--quant", found)
    return tuple(found) or (None,)


def parse_batches(texts: Sequence[str]) -> tuple[int | None, ...]:
    """Read the ``--batch`` of a comparison, ``1,8,32``.

    Raises:
        ModelError: one is no whole number, or is given twice.
    """
    parts = [part for text in texts for part in text.split(",")]
    found = [whole("--batch", part) for part in parts]
    _once("--batch", [str(each) for each in found])
    return tuple(found) or (None,)


def _once(option: str, values: Sequence[str]) -> None:
    for value in values:
        if values.count(value) > 1:
            raise ModelError(f"{option} must name {value} once, not twice; drop one of them")


def whole(option: str, text: str | None) -> int | None:
    """The whole number that an option's text is.

    Raises:
        ModelError: it is none.
    """
    if text is None:
        return None
    digits = text.strip().removeprefix("-")
    if not digits.isascii() or not digits.isdigit():
        raise ModelError(f"{option} must be a whole number, not '{text}'")
    if len(digits) > _DIGITS:
        raise ModelError(f"{option} must have at most {_DIGITS} digits, not {len(digits)}")
    return int(text)


def share(option: str, text: str | None) -> float | None:
    """The number that an option's text is.

    Raises:
        ModelError: it is none.
    """
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        raise ModelError(f"{option} must be a number, not '{text}'") from None
