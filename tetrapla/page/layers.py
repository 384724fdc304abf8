"""Every layer on every machine: how well it is used, and a card with all that is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from tetrapla import quantities
from tetrapla.columns import Facts
from tetrapla.page import parts
from tetrapla.table import layer_cells

_SHADES = 10  # classes u0 to u10 of the style sheet
_MOST = 120  # rows of the map; a card is each cell's
_LEAD = (
    "Each cell is how much of what it takes a layer uses: of an array's or a GPU's peak, of an "
    "analog chip's cells, of a spiking chip's compartments. A dot has no multiply-accumulates; "
    "an empty cell is no layer of its own there. A cell opens the layer's card."
)
_HEADINGS = ("layer", "op", "cycles", "MACs", "utilization", "bound by", "energy", "bytes")


def drawn(anchor: str, reports: Sequence[Facts], called: Sequence[str]) -> str:
    """The map, the cards that its cells lead to, and the tables of all layers."""
    found = [{row["name"]: row for row in report["layers"]} for report in reports]
    every = merged([list(held) for held in found])
    shown = every[:_MOST]
    places = {name: number for number, name in enumerate(every)}
    rows = [
        [
            escape(name),
            *(
                _cell(held.get(name), f"{anchor}-{column}-{places[name]}")
                for column, held in enumerate(found)
            ),
        ]
        for name in shown
    ]
    words = [True, *(False for _ in reports)]
    heat = parts.table(["layer", *called], rows, words=words, label="Utilisation by layer")
    cards = "".join(
        _card(report, name, held[layer], f"{anchor}-{column}-{places[layer]}", anchor)
        for column, (report, name, held) in enumerate(zip(reports, called, found, strict=True))
        for layer in shown
        if layer in held
    )
    left = len(every) - len(shown)
    note = f" The first {_MOST} of {len(every)} layers; the tables have all." if left else ""
    alone = len(reports) == 1
    tables = "".join(
        _table(r, name, opened=alone) for r, name in zip(reports, called, strict=True)
    )
    return (
        f"<p class=lead>{_LEAD}{note}</p><div class=heat>{heat}</div>"
        f"<div class=cards>{cards}</div>{tables}"
    )


def merged(lists: Sequence[Sequence[str]]) -> list[str]:
    """Every name once; a new one stands behind the one before it in its own list."""
    found: list[str] = []
    for names in lists:
        place = 0
        for name in names:
            if name in found:
                place = found.index(name) + 1
            else:
                found.insert(place, name)
                place += 1
    return found


def _cell(row: Mapping[str, Any] | None, card: str) -> str:
    if row is None:
        return ""
    used = row["utilization_frac"]
    if used is None:
        tip = escape(f"{row['name']}: {row['bound_by']}")
        return f'<a class=u href="#{card}" title="{tip}">\u00b7</a>'
    shade = min(_SHADES, round(_SHADES * used))
    text, tip = escape(quantities.share(used)), escape(f"{row['name']}: {row['bound_by']}")
    return f'<a class="u u{shade}" href="#{card}" title="{tip}">{text}</a>'


def _card(report: Facts, name: str, row: Mapping[str, Any], card: str, anchor: str) -> str:
    """Shown where it is the page's target, and else hidden."""
    cycles = sum(each["cycles"] for each in report["layers"])
    together = row["cycles"] / cycles if cycles and report["family"] != "spiking" else None
    total = report["energy_pj"]["total"]
    energy = row["energy_pj"]
    moved = row.get("traffic_bytes")
    facts = [
        ("operator", row["op"]),
        ("cycles", quantities.count(row["cycles"])),
        ("of all layers' cycles", quantities.share(together) if together is not None else ""),
        ("multiply-accumulates", quantities.count(row["macs"])),
        ("utilisation", quantities.share(row["utilization_frac"])),
        ("bound by", row["bound_by"]),
        ("energy", quantities.energy(energy)),
        ("of the total", quantities.share(energy / total) if total and energy else ""),
        ("off-chip traffic", "" if moved is None else f"{quantities.count(moved)} bytes"),
        ("MAC per byte", f"{row['macs'] / moved:.3g}" if moved and row["macs"] else ""),
    ]
    listed = "".join(
        f"<div><dt>{escape(k)}</dt><dd>{escape(v)}</dd></div>" for k, v in facts if v
    )
    return (
        f'<article class=card id="{card}"><a class=close href="#{anchor}-layers" '
        f'aria-label="Close">\u00d7</a><h4>{escape(row["name"])} <small>on {escape(name)}'
        f"</small></h4><dl class=facts>{listed}</dl></article>"
    )


def _table(report: Facts, name: str, *, opened: bool) -> str:
    rows = [
        [*layer_cells(dict(row)), quantities.count(row.get("traffic_bytes"))]
        for row in report["layers"]
    ]
    cycles = quantities.count(report["cycles"])
    said = f"{name}: {len(rows)} layers, {cycles} cycles"
    return parts.folded(said, parts.plain_table(_HEADINGS, rows, label=said), opened=opened)
