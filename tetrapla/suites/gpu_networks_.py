"""Whole networks on GPUs: what others' software takes for them, and what our plans take.

A network of equal layers is planned with one layer and with two, and every further one takes
what the second added: kernels run one after another, so that nothing is lost by it. Nothing is
computed, so that weights have no values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from tetrapla.backends.target_ import Options, find
from tetrapla.frontend.zoo.bert import Sizes as BertSizes
from tetrapla.frontend.zoo.bert import bert
from tetrapla.frontend.zoo.llama import Sizes as LlamaSizes
from tetrapla.frontend.zoo.llama import llama_block
from tetrapla.frontend.zoo.network import Draft, entry
from tetrapla.ir.module import Module
from tetrapla.simulators.random_ import Key
from tetrapla.suites.tables_ import Cells, number, read, whole
from tetrapla.validation import Row

BERT_BOUND = 0.10
_BERT = (
    "NVIDIA/TensorRT, demo/BERT, mean times; ours reads all of its mask, as any sequence may "
    "be shorter; not in the fit"
)
_RESNET = (
    "NVIDIA/DeepLearningExamples, ResNet-50 v1.5 in PyTorch, NGC 21.03, V100-16GB and T4; ours "
    "fuses normalisation, ReLU and sums into the convolutions, PyTorch does not"
)
_LLAMA = (
    "hahnyuan/LLM-Viewer issue 4: TensorRT-LLM, the prompt of 2,048 tokens alone; ours has no "
    "embedding and no vocabulary's product"
)
_SOURCES = {"bert-base": _BERT, "bert-large": _BERT, "resnet50": _RESNET, "llama-7b": _LLAMA}
# the boards that were timed, where they are not the catalogue's
_BOARDS = {"bert-base": "dram.bandwidth=1555 GB/s", "bert-large": "dram.bandwidth=1555 GB/s"}
_BASE = BertSizes()
# J. Devlin et al., "BERT", arXiv:1810.04805, section 3
_LARGE = BertSizes(layers=24, features=1024, heads=16, width=4096)
# H. Touvron et al., "LLaMA", arXiv:2302.13971, table 2; the width is the reference code's
_LLAMA_7B = LlamaSizes(width=11008, key_heads=32, theta=10_000.0)
_LLAMA_LAYERS = 32
Writer = Callable[[Draft, int, int], None]


def rows(path: Path) -> Iterator[Row]:
    """A row for each network, and the mean error of BERT on the A100.

    Raises:
        ModelError: the table is missing or broken.
    """
    errors: list[float] = []
    for where, row in read(path):
        made = _row(row, where)
        yield made
        if made.quantity == "a100_network" and made.case.startswith("bert"):
            errors.append(abs(made.rel_error or 0.0))
    if not errors:
        return
    mean = 1 + float(np.mean(errors))
    said = f"1 + mean absolute error of {len(errors)} points: {_BERT}"
    yield Row("gpu", "mean", "a100_bert_error", "1", 1.0, mean, BERT_BOUND, said)


def _row(row: Cells, where: str) -> Row:
    gpu, network, number_format, unit = (
        row.get(name) or "" for name in ("gpu", "network", "format", "unit")
    )
    batch, length = (whole(row, name, where) for name in ("batch", "length"))
    published = number(row, "published", where)
    case = f"{network} {length} batch {batch} {number_format}"
    write, layers = _NETWORKS.get(network, (None, 0))
    ours = None
    source = _SOURCES.get(network, f"{where}; ours is null: the suite has no such network")
    if write is not None:
        changes = [f"chip.default_format={number_format}"]
        if gpu == "a100" and network in _BOARDS:
            changes.append(_BOARDS[network])
            source = f"{source}; with the A100 40 GB's memory"
        time_s = _time_s(gpu, changes, network, write, layers, batch, length)
        ours = 1e3 * time_s if unit == "ms" else batch / time_s
    return Row("gpu", case, f"{gpu}_network", unit, published, ours, None, source)


def _time_s(
    gpu: str,
    changes: list[str],
    network: str,
    write: Writer,
    layers: int,
    batch: int,
    size: int,
) -> float:
    target, loaded = find(gpu, changes)
    times: list[float] = []
    for count in (1, 2) if layers > 1 else (1,):
        draft = Draft(network, batch, 0, values=False)
        write(draft, count, size)
        made = draft.builder.build()
        shapes = Module(made.mlir, {}, made.name)
        lowered = target.lower(shapes, loaded.spec, None, Options())
        times.append(target.run(lowered.program, loaded.spec, {}, Key(0)).time_s)
    return times[0] + (layers - 1) * (times[-1] - times[0])


def _bert(sizes: BertSizes) -> Writer:
    def write(n: Draft, layers: int, length: int) -> None:
        names = ("input_ids", "token_type_ids", "attention_mask")
        ids, kinds, seen = (n.input(name, (length,), "i64") for name in names)
        tokens, pooled = bert(n, ids, kinds, seen, replace(sizes, layers=layers))
        n.output("last_hidden_state", tokens)
        n.output("pooler_output", pooled)

    return write


def _llama(n: Draft, layers: int, length: int) -> None:
    x = n.input("hidden_states", (length, _LLAMA_7B.features))
    for i in range(layers):
        with n.within(f"layer.{i}"):
            x = llama_block(n, x, _LLAMA_7B)
    n.output("hidden_states_out", x)


def _resnet(n: Draft, layers: int, size: int) -> None:
    del layers, size
    entry("resnet50").write(n)


_NETWORKS: Mapping[str, tuple[Writer, int]] = {
    "bert-base": (_bert(_BASE), _BASE.layers),
    "bert-large": (_bert(_LARGE), _LARGE.layers),
    "llama-7b": (_llama, _LLAMA_LAYERS),
    "resnet50": (_resnet, 1),
}
"""By name, what writes so many layers for inputs of a length, and how many there are."""
