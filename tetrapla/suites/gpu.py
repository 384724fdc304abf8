"""Published timings of GPUs beside our model's: products, convolutions, attention, networks.

A mean row's `ours` is 1 plus the mean of the rows' absolute relative errors, its `published` 1.
What the constants were fitted to says "in-sample". Large tables of products and convolutions
belong to public data sets and are not part of the project: with `--golden FOLDER` and such a
table in `FOLDER/gpu` they are held (`tetrapla/data/golden/README.md` has the columns), and
without it a mean is null.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tetrapla.backends.target_ import find
from tetrapla.calibration import PRIOR, Timing, calibrate, fitted_s, shipped_s
from tetrapla.simulators.gpu.attention_time import KERNELS, Attention, fused_time_s
from tetrapla.simulators.gpu.kernels import MatMul, Tile
from tetrapla.simulators.gpu.machine import run
from tetrapla.simulators.gpu.product_time import Floats, Shapes, product_times
from tetrapla.simulators.gpu.program import Buffer, Program
from tetrapla.simulators.gpu.spec import GpuSpec
from tetrapla.simulators.gpu.unfused_attention_time import unfused_time_s
from tetrapla.simulators.random_ import Key
from tetrapla.suites import gpu_networks_, gpu_rates_
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

FOLDER = Path("gpu")
PRODUCT_BOUND = 0.12
HOST_SYNC_BOUND = 0.06
CONVOLUTION_BOUND = 0.15
ATTENTION_BOUND = 0.08
_VIDUR = "microsoft/vidur (MIT), data/profiling/compute, fp16, medians on the device"
_NEUSIGHT = "sitar-lab/NeuSight (MIT), scripts/asplos/data/dataset/test/linear.csv, fp32"
_LLMCOMPASS = "PrincetonUniversity/LLMCompass (BSD-3), ae/figure5, one kernel at a time"
_DEEPBENCH = "baidu-research/DeepBench (Apache-2.0), results/train, fp16, forward"
_FLASH = "J. Shah et al., FlashAttention-3, 2024, figures of the forward pass, fp16, H100 SXM5"
_LENGTHS = (512, 1024, 2048, 4096, 8192, 16384)
_TOKENS, _HIDDEN = 16384, 2048  # of every point of the attention's figures


@dataclass(frozen=True)
class _Claim:
    """What a group of rows holds: its name, its mean's bound and what to say of it."""

    quantity: str
    bound: float | None
    source: str
    said: str


def rows(golden: Path) -> Iterator[Row]:
    """Every point of the tables, and the means over them.

    Raises:
        ModelError: a table is missing or broken.
    """
    for name, held in _TABLES.items():
        path = golden / FOLDER / f"{name}.csv"
        yield from held(path) if path.exists() else _absent(name)
    yield from _attention(golden / FOLDER / "attention.csv")
    yield from gpu_rates_.rows(golden / FOLDER / "rates.csv")
    yield from gpu_networks_.rows(golden / FOLDER / "networks.csv")


def _absent(table: str) -> Iterator[Row]:
    """The means of a table that is not there."""
    for quantity in _MEANS[table]:
        said = (
            f"{_SOURCES[table]}; ours is null: {table}.csv is not part of the project; give a "
            "folder that has it as --golden"
        )
        yield Row("gpu", "mean", f"{quantity}_error", "1", 1.0, None, None, said)


def _held_out(path: Path) -> Iterator[Row]:
    for gpu, held in _timings(path).items():
        spec = _gpu(gpu)
        shipped = _Claim(
            f"{gpu}_product", PRODUCT_BOUND, _VIDUR, "the chip's constants; not in the fit"
        )
        yield from _products(shipped, held, shipped_s(held, spec))
        prior = _Claim(
            f"{gpu}_product_prior",
            PRODUCT_BOUND,
            _VIDUR,
            "level 1 with the prior for an unknown GPU, chosen after seeing such timings",
        )
        yield from _products(prior, held, fitted_s(held, spec, PRIOR))


def _single_precision(path: Path) -> Iterator[Row]:
    """Chips at their power limit, and one that is not at it; no bound was set beforehand."""
    for gpu, held in _timings(path).items():
        spec = _gpu(gpu)
        found = np.array([run(_plan(t), spec, {}, Key(0)).time_s for t in held])
        said = (
            "the chip's constants, which are fitted to fp16"
            if gpu == "h100"
            else "at the power limit; the price that sets it is in-sample"
        )
        yield from _products(_Claim(f"{gpu}_product_fp32", None, _NEUSIGHT, said), held, found)


def _plan(timing: Timing) -> Program:
    """A float32 product alone."""
    m, n, k = timing.m, timing.n, timing.k
    kernel = MatMul(
        "gemm", "nn.matmul", "y", (), n, 1, "a", "b", "f32", 0, 0, Tile(64, 64, 32),
        (), (), (), m, n, k,
    )  # fmt: skip
    shapes = {"a": (m, k), "b": (k, n), "y": (m, n)}
    buffers = tuple(Buffer(name, "f32", shape, "scratch") for name, shape in shapes.items())
    return Program("gemm", "fp32", (), (), buffers, (kernel,))


def _host_sync(path: Path) -> Iterator[Row]:
    for gpu, held in _timings(path).items():
        spec = _gpu(gpu, "timing.context=host-sync")
        shipped = _Claim(
            f"{gpu}_product_host_sync", None, _LLMCOMPASS, "the chip's constants, not refitted"
        )
        yield from _products(shipped, held, shipped_s(held, spec))
        refitted = _Claim(
            f"{gpu}_product_host_sync_refitted",
            HOST_SYNC_BOUND,
            _LLMCOMPASS,
            "level 1 refitted as `calibrate` does; in-sample",
        )
        product = calibrate(held, spec).product
        yield from _products(refitted, held, fitted_s(held, spec, product))


def _products(claim: _Claim, held: Sequence[Timing], found_s: Floats) -> Iterator[Row]:
    names = [f"{t.m} x {t.n} x {t.k}" for t in held]
    return _group(claim, names, np.array([t.time_s for t in held]), found_s)


def _convolutions(path: Path) -> Iterator[Row]:
    table = read(path)
    sizes = ("n", "c", "h", "w", "filters", "r", "s", "out_h", "out_w")
    columns = [[whole(row, name, where) for where, row in table] for name in sizes]
    n, c, h, w, filters, r, s, out_h, out_w = (np.array(each, np.float64) for each in columns)
    shapes = Shapes(
        np.ones_like(n), n * out_h * out_w, filters, c * r * s,
        2 * (n * c * h * w + filters * c * r * s), 2 * n * filters * out_h * out_w, 2,
    )  # fmt: skip
    names = ["x".join(str(size) for size in sized) for sized in zip(*columns, strict=True)]
    for gpu in ("v100", "t4"):
        measured = np.array([1e-6 * number(row, f"{gpu}_us", at) for at, row in table])
        found = product_times(shapes, _gpu(gpu), "fp16").time_s
        claim = _Claim(f"{gpu}_convolution", CONVOLUTION_BOUND, _DEEPBENCH, "in-sample")
        yield from _group(claim, names, measured, found)


def _attention(path: Path) -> Iterator[Row]:
    spec = _gpu("h100")
    groups: dict[str, list[tuple[str, float, float]]] = {}
    for where, row in read(path):
        kernel = row.get("kernel") or ""
        for length in _LENGTHS:
            if row.get(f"s{length}"):
                point = _attention_point(row, kernel, length, where, spec)
                groups.setdefault(kernel, []).append(point)
    for kernel, points in groups.items():
        names = [name for name, _, _ in points]
        measured, found = (np.array([p[i] for p in points]) for i in (1, 2))
        bound = ATTENTION_BOUND if kernel == "FA3" else None
        said = "in-sample" if kernel in KERNELS else "two products and a softmax; not fitted"
        claim = _Claim(f"h100_attention_{kernel.lower()}", bound, _FLASH, said)
        yield from _group(claim, names, measured, found)


def _attention_point(
    row: Cells, kernel: str, length: int, where: str, spec: GpuSpec
) -> tuple[str, float, float]:
    """Name, measured seconds and ours, of a published rate in 1e12 operations a second."""
    head_dim = whole(row, "head_dim", where)
    causal = whole(row, "causal", where, least=0, most=2) == 1
    problem = Attention(_TOKENS // length, _HIDDEN // head_dim, length, head_dim, causal)
    measured_s = problem.operations / (1e12 * number(row, f"s{length}", where))
    if kernel in KERNELS:
        found_s = fused_time_s(problem, KERNELS[kernel], spec)
    else:
        found_s = unfused_time_s(problem, spec)
    mask = " causal" if causal else ""
    return f"d {head_dim}{mask}, {length} tokens", measured_s, found_s


def _group(
    claim: _Claim, names: Sequence[str], measured_s: Floats, found_s: Floats
) -> Iterator[Row]:
    """A row for each point, in microseconds, and their mean error."""
    source = f"{claim.source}; {claim.said}"
    for name, known, ours in zip(names, measured_s, found_s, strict=True):
        known_us, ours_us = 1e6 * float(known), 1e6 * float(ours)
        yield Row("gpu", name, claim.quantity, "us", known_us, ours_us, None, source)
    mean = 1 + float(np.mean(np.abs(found_s / measured_s - 1)))
    said = f"1 + mean absolute error of {len(names)} points: {source}"
    yield Row("gpu", "mean", f"{claim.quantity}_error", "1", 1.0, mean, claim.bound, said)


def _timings(path: Path) -> Mapping[str, list[Timing]]:
    """By GPU."""
    found: dict[str, list[Timing]] = {}
    for where, row in read(path):
        m, n, k = (whole(row, name, where) for name in ("m", "n", "k"))
        time_s = 1e-6 * number(row, "time_us", where)
        timing = Timing(m, n, k, row.get("format") or "", time_s)
        found.setdefault(row.get("gpu") or "", []).append(timing)
    return found


def _gpu(name: str, *overrides: str) -> GpuSpec:
    spec: object = find(name, overrides)[1].spec
    assert isinstance(spec, GpuSpec)  # of this catalogue's chips
    return spec


_TABLES = {
    "products": _held_out,
    "fp32": _single_precision,
    "host_sync": _host_sync,
    "convolutions": _convolutions,
}
_SOURCES = {
    "products": _VIDUR,
    "fp32": _NEUSIGHT,
    "host_sync": _LLMCOMPASS,
    "convolutions": _DEEPBENCH,
}
_MEANS = {
    "products": tuple(
        f"{gpu}_product{kind}" for gpu in ("a100", "h100", "a40") for kind in ("", "_prior")
    ),
    "fp32": ("l4_product_fp32", "t4_product_fp32"),
    "host_sync": ("a100_product_host_sync_refitted",),
    "convolutions": ("v100_convolution", "t4_convolution"),
}
"""By table, the means that are told as null where it is absent."""
