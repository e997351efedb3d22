"""How the report looks: the page around its sections, tables and numbers in HTML. What it says is in study/report/setting.py and
study/report/findings.py."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from ...match.methods import EXACT
from ..summary import Summary

CSS = """
:root { color-scheme: light; }
body { font: 15.5px/1.55 system-ui, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; color: #222;
  background: #fff;
       margin: 0 auto; max-width: 1000px; padding: 28px 22px 60px; }
h1 { font-size: 1.75rem; line-height: 1.25; margin: 0 0 .3rem; }
h2 { font-size: 1.28rem; margin: 2.6rem 0 .6rem; padding-top: .5rem; border-top: 1px solid #dde1e6; }
h3 { font-size: 1.05rem; margin: 1.6rem 0 .4rem; }
p, li { max-width: 72ch; } .sub { color: #5a6069; margin: 0 0 1.2rem; }
table { border-collapse: collapse; margin: .7rem 0 1.1rem; font-size: .88rem; }
th { text-align: left; font-weight: 600; border-bottom: 1.5px solid #222; padding: .25rem .8rem .25rem 0;
  vertical-align: bottom; }
td { border-bottom: 1px solid #eceef1; padding: .22rem .8rem .22rem 0; vertical-align: top; max-width: 44ch; overflow-wrap: break-word; }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
tr.control td { color: #6b717a; } .wide { overflow-x: auto; }
.tiles { display: flex; flex-wrap: wrap; gap: 12px; margin: 1.1rem 0; }
.tile { background: #f5f7f9; border-radius: 6px; padding: .6rem .9rem; min-width: 120px; }
.tile b { display: block; font-size: 1.25rem; } .tile span { font-size: .82rem; color: #5a6069; }
figure { margin: 1.1rem 0 1.4rem; } figure img { max-width: 100%; height: auto; display: block; }
img.wide { width: 760px; } img.mask { max-height: 190px; }
.pairs { display: grid; grid-template-columns: repeat(auto-fill, minmax(440px, 1fr)); gap: 4px 18px; }
.pairs figure { margin: .2rem 0; }
td.q { font-size: .8rem; color: #5a6069; }
.caption, figcaption { font-size: .85rem; color: #4a5058; max-width: 76ch; margin-top: .35rem; }
.masks { display: flex; flex-wrap: wrap; gap: 6px 34px; } .masks figure { margin: .4rem 0; max-width: 420px; }
.note { background: #f5f7f9; border-left: 3px solid #0072B2; padding: .5rem .9rem; margin: 1rem 0; }
.bad { background: #fdf3ec; border-left: 3px solid #D55E00; padding: .5rem .9rem; margin: 1rem 0; }
.flag { color: #b34700; font-weight: 600; }
code, pre { font-family: ui-monospace, Consolas, "DejaVu Sans Mono", monospace; font-size: .86em; }
pre { background: #f5f7f9; padding: .8rem 1rem; overflow-x: auto; border-radius: 6px; }
summary { cursor: pointer; }
.key i { display: inline-block; width: .8em; height: .8em; margin: 0 .35em 0 1em; border-radius: 2px;
  vertical-align: -.05em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.1rem; } dt { font-weight: 600; }
dd { margin: 0; max-width: 68ch; }
@media print { body { max-width: none; padding: 0; } h2 { break-after: avoid; }
figure, table { break-inside: avoid; } }
"""


def document(title: str, body: str) -> str:
    """The whole page around a body."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n<meta name="viewport" '
        f'content="width=device-width, initial-scale=1">\n<title>{escape(title)}</title>\n'
        f"<style>{CSS}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def table(
    head: Sequence[str],
    rows: Iterable[Sequence[str]],
    numbers: Sequence[int] = (),
    classes: Sequence[str] = (),
) -> str:
    quantity = head.index("quantity") if "quantity" in head else -1

    def cells(tag: str, values: Sequence[str]) -> str:
        kinds = [' class="n"' if k in numbers else ' class="q"' if k == quantity else "" for k in range(len(values))]
        return "".join(f"<{tag}{kind}>{value}</{tag}>" for kind, value in zip(kinds, values, strict=True))

    classes = list(classes)
    lines = [f"<tr>{cells('th', head)}</tr>"]
    for k, row in enumerate(rows):
        kind = f' class="{classes[k]}"' if k < len(classes) and classes[k] else ""
        lines.append(f"<tr{kind}>{cells('td', row)}</tr>")
    return '<div class="wide"><table>' + "\n".join(lines) + "</table></div>"


def value(summary: Summary) -> str:
    if not summary.trials:
        return "–"
    low, high = summary.interval
    proven = summary.quantity == "existence" or summary.cell.method == EXACT
    open_ = f", {thousands(summary.undecided)} undecided" if summary.undecided and proven else ""
    return f"{summary.probability:.4f} [{low:.4f}, {high:.4f}]{open_}"


def percent(share: float) -> str:
    if math.isnan(share):
        return "–"
    text = f"{100 * share:.2f}".rstrip("0").rstrip(".")
    if text == "100" and share < 1:
        text = "&gt; 99.99"
    return f"{text}&nbsp;%"


def thousands(count: int) -> str:
    return f"{count:,}".replace(",", "\u202f")


def first_up(text: str) -> str:
    return text[:1].upper() + text[1:]
