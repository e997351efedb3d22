"""The report's text on the study itself: what was asked, how to read it, how to run it again. The numbers are in
study/report/findings.py."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from ...match.methods import EXACT
from ..spec import Spec
from ..store import Store
from ..summary import Summary
from . import html


def asked(spec: Spec, found: list[Summary]) -> str:
    networks = []
    for entry in spec.networks:
        kappa = [s.required_rank for s in found if s.cell.network_label == entry.label and s.required_rank]
        sampled = " (largest found)" if entry.net.activation == "relu" else ""
        numbers = (entry.net.size, entry.net.equations, f"{kappa[0]}{sampled}" if kappa else "–")
        shared = escape(", ".join(entry.shared)) or "none"
        networks.append((escape(entry.label), entry.net.describe(), shared, _shapes(entry.net), *map(str, numbers)))
    strategies = []
    for strategy in spec.strategies:
        own = [s.cell for s in found if s.cell.strategy_label == strategy.label and not s.cell.control]
        sizes = list(dict.fromkeys(cell.arguments for cell in own if cell.network_label in strategy.networks))
        shown = ", ".join(sizes if len(sizes) <= 14 else [*sizes[:6], f"… ({len(sizes)})"])
        scope = "all" if len(strategy.networks) == len(spec.networks) else ", ".join(strategy.networks)
        what = _strategy_text(strategy.kind, strategy.within)
        strategies.append((escape(strategy.label), what, escape(shown), escape(scope)))
    methods = dict.fromkeys(summary.cell.quantity_text("found") for summary in found)
    head = (
        "network",
        "shape",
        "shared with the teacher",
        "groups",
        "weights",
        "outputs per trial",
        "required rank κ",
    )
    return f"""<h2>What was asked</h2>
<p>A <b>teacher</b> network with random weights answers random inputs. A <b>student</b> of the same shape
starts from other random weights, and only a chosen few of its weights may learn: the <b>allocation</b>;
their number is the <b>budget</b> r. All other weights stay <b>frozen</b> at their random values (they still
act). Can the student give exactly the teacher's outputs? Each such question with freshly drawn weights and
inputs is one <b>trial</b>. Groups listed as shared are the same in teacher and student.</p>
{html.table(head, networks, (4, 5, 6))}
{html.table(("strategy", "which weights learn", "sizes", "networks"), strategies)}
<p>Measured: {escape("; ".join(methods))}.</p>"""


def _shapes(net: Any) -> str:
    shapes = {name: "×".join(map(str, shape)) for name, shape in net.groups.items()}
    return ", ".join(f"{name}&nbsp;{shape}" for name, shape in shapes.items())


def _strategy_text(kind: str, within: Sequence[str]) -> str:
    groups = escape(" and ".join(within)) or "all groups that are not shared"
    return {
        "scattered": f"r weights drawn at random in {groups}, anew for every trial",
        "rows": f"the first r weights of {groups}, row by row",
        "columns": f"the first r weights of {groups}, column by column",
        "diagonal": f"the first r weights of {groups} along its diagonals",
        "per_row": f"random rows of {groups}, random weights in each, anew for every trial",
        "per_column": f"random columns of {groups}, random weights in each, anew for every trial",
        "even_rows": f"equally many random weights in every row of {groups}, anew for every trial",
        "block": f"the leading block of {groups}",
        "split": f"so many weights in each of {groups}, drawn at random, anew for every trial",
        "only": f"all weights of {groups}",
        "everything": "all weights that are not shared",
        "edges": "the weights listed in the study",
    }[kind]


METHOD_TEXT = {
    "newton": """<i>newton</i> is a damped Newton search (Levenberg–Marquardt) that starts at the student's
own weights and then at wide random points""",
    "descent": "<i>descent</i> is gradient descent from the student's own weights",
}

EXACT_TEXT = """Method <i>exact</i> decides it trial by trial: yes by a solution that is proven where counted as certified, or by
a theorem; no by the rank, a linear solve, or all complex solutions of the equations, none of them real (complete up to an estimated error
of 10<sup>−6</sup>). Trials that it leaves undecided are counted as neither: the interval's lower end takes them for no match, its upper end
for matches."""


KAPPA = """Exact for linear and tanh networks. The dimension of the set of outputs that the network can reach with all weights that
are not shared: no allocation with fewer than κ weights can ever match."""
KAPPA_RELU = "For relu networks the largest found among sampled linear regions: an estimate, and no bound."


def reading(spec: Spec, found: list[Summary]) -> str:
    methods = dict.fromkeys(summary.cell.method for summary in found)
    means = "; ".join(METHOD_TEXT[method] for method in methods if method != EXACT)
    existence = """Not measured in this study: the found probability is a lower estimate of it."""
    if any(summary.quantity == "existence" for summary in found):
        existence = """Measured as such only where a rank or a linear solve decides every trial; elsewhere
the found probability is a lower estimate of it."""
    if EXACT in methods:
        existence = EXACT_TEXT
    relu = ""
    if any(entry.net.activation == "relu" for entry in spec.networks):
        relu = """<p>For relu networks a rank holds in one linear region only, and theorems say less. A budget below the required
rank shown can still match where the teacher needs fewer dimensions.</p>"""
    activations = {entry.net.activation for entry in spec.networks}
    kappa = " ".join(text for text, told in ((KAPPA, activations - {"relu"}), (KAPPA_RELU, "relu" in activations)) if told)
    searched = f"""<dt>Found probability</dt><dd>Estimated. The share of trials in which a stated method reaches a stated
relative loss ‖y − y*‖² / ‖y*‖²; {means}. Not finding a match is no proof that there is none.</dd>
""" if means else ""  # fmt: skip
    return f"""<h2>What is exact and what is estimated</h2>
<dl>
<dt>Required rank κ</dt><dd>{kappa}</dd>
<dt>Theory's limits</dt><dd>For each mask exact, by ranks in integer arithmetic modulo a prime and by the
structure of the mask: it predicts <i>minimal</i> (no match), <i>maximal</i> (always a match),
<i>intermediate</i> or <i>unknown</i>. The match probability of a strategy that draws masks at random lies between the
probability of a maximal mask and that of one that is not minimal. Both are exact where all masks of the strategy
could be judged or a theorem counts them. Elsewhere they are estimated from the masks that were judged, and the
limit shown is the safe end of a 95&nbsp;% interval (marked ~ in tables, broken bars in figures).</dd>
<dt>Match probability</dt><dd>The probability that matching weights <i>exist</i>. {existence}</dd>
{searched}<dt>Intervals</dt><dd>95&nbsp;% Clopper–Pearson, for the number of trials shown.</dd>
</dl>
{relu}"""


def reproduce(spec: Spec, found: list[Summary], store: Store) -> str:
    versions = sorted({version for summary in found for version in summary.versions})
    isas = sorted({str(row.get("isa")) for row in store.rows})
    seconds = sum(summary.seconds for summary in found)
    mixed = '<p class="note">Rows come from more than one version of sublearn.</p>' if len(versions) > 1 else ""
    return f"""<h2>Run it again</h2>
<p>The folder keeps the study as <code>spec.toml</code>; <code>sublearn run spec.toml</code> poses the same
problems on any machine: every trial is a function of the seed ({spec.seed}), the network's task number and
the trial's number only. Found counts can differ in their last digits between instruction sets, because a search
rounds differently there. Made by sublearn {escape(", ".join(versions) or "?")} (instruction sets:
{escape(", ".join(isas) or "–")}); {seconds:.0f} s of fitting. The numbers are in <code>results.csv</code>
(one line per cell), <code>results.jsonl</code> (one line per range of trials) and, in Python,
<code>sublearn.study.load(folder)</code>.</p>
{mixed}
<details><summary>The study's file</summary><pre>{escape(spec.text)}</pre></details>"""
