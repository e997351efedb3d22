"""The report's findings: each network's numbers, controls, theory against measurement, reference values.

Wording rule: a found probability is never called a match probability, and what is exact is told apart from what is estimated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from html import escape

from ...compare import Comparison
from ...match.methods import EXACT
from ...theory.certain import at_least, at_most
from .. import plot
from ..limits import Limits, limits_of
from ..spec import Spec
from ..summary import Summary
from . import html
from .figures import MASK, RESTARTS, WIDE, Figure, tag
from .references import references

KIND_TEXT = {
    "minimal": "no match exists (match probability 0)",
    "maximal": "a match exists almost surely (match probability 1)",
    "intermediate": "matches exist with positive probability; 1 is not excluded",
    "unknown": "no theorem applies",
}


RESTARTS_TEXT = """<p class="caption">Share of trials found within the first s starts. A curve that still
rises at its
end says that more starts would find more: what is missing there is search, not existence.</p>"""


TILDE = "Theory: limits of the match probability. ~: estimated from drawn masks (end of a 95&nbsp;% interval); the others are exact."


def network(label: str, own: list[Summary], figures: list[Figure]) -> str:
    parts = [f"<h3>{escape(label)}</h3>", _findings(own)]
    placed = {place: [tag(figure) for figure in figures if figure.place == place] for place in (WIDE, RESTARTS, MASK)}
    parts += placed[WIDE]
    if placed[RESTARTS]:
        parts.append(f'<div class="pairs">{"".join(placed[RESTARTS])}</div>{RESTARTS_TEXT}')
    if placed[MASK]:
        colours = {"learnable": plot.LEARNABLE, "frozen": plot.FROZEN}
        if any(summary.cell.shared for summary in own):
            colours["shared with the teacher"] = plot.SHARED
        key = "".join(f'<i style="background:{colour}"></i>{text}' for text, colour in colours.items())
        parts.append(f'<p class="key">Masks:{key}</p><div class="masks">{"".join(placed[MASK])}</div>')
    rows, classes = [], []
    for summary, limits in zip(own, limits_of(own), strict=True):
        cell = summary.cell
        theory = "–" if limits is None else _limits_text(limits)
        size = "" if cell.arguments == str(cell.budget) else f" ({escape(cell.arguments)})"
        quantity = escape(summary.quantity_text) if summary.trials else "not run yet"
        numbers = (f"{cell.budget}{size}", html.thousands(summary.trials), html.value(summary), theory)
        rows.append((escape(cell.strategy_label), *numbers, quantity))
        classes.append("control" if cell.control else "")
    head = ("strategy", "budget r", "trials", "measured [95 % interval]", "theory", "quantity")
    table = html.table(head, rows, (1, 2, 3, 4), classes)
    opened = " open" if len(rows) <= 40 else ""
    note = f'<p class="caption">{TILDE}</p>' if any("~" in row[4] for row in rows) else ""
    parts.append(f"<details{opened}><summary>All {len(rows)} numbers</summary>{table}{note}</details>")
    return "\n".join(parts)


def _limits_text(limits: Limits) -> str:
    """Limits in a table, rounded outwards; what is estimated has a tilde."""
    text = str(limits)
    if text.startswith("MP = "):
        return text.removeprefix("MP ").removesuffix(" (exact)")
    if limits.upper == 1 and limits.lower == 0:
        return "no limit"
    low = at_least(limits.lower) if limits.exact_lower or limits.lower == 0 else f"~{at_least(limits.lower)}"
    high = at_most(limits.upper) if limits.exact_upper or limits.upper == 1 else f"~{at_most(limits.upper)}"
    return f"{low} to {high}"


def _findings(own: list[Summary]) -> str:
    """A few sentences with the numbers that matter, made from the counts."""
    measured = [summary for summary in own if summary.trials]
    if not measured:
        return "<p>Nothing was run yet.</p>"
    items = []
    for quantity in dict.fromkeys(summary.quantity_text for summary in measured):
        lines = _finding([summary for summary in measured if summary.quantity_text == quantity])
        if lines:
            items.append(f"<li><b>{escape(html.first_up(quantity))}:</b> {'; '.join(lines)}.</li>")
    return f"<ul>{''.join(items)}</ul>" if items else ""


def _finding(part: list[Summary]) -> list[str]:
    """Half sentences on the cells of one quantity: below, at and above the required rank."""
    kappa = part[0].required_rank
    lines: list[str] = []
    if kappa is None:
        return lines
    below = [summary for summary in part if summary.cell.budget < kappa]
    if below:
        matched, trials = sum(s.matched for s in below), sum(s.trials for s in below)
        word = "matched" if part[0].quantity == "existence" else "found"
        why = ", as it must be" if not matched else ": near misses within the tolerance, for no match exists there"
        if part[0].cell.net.activation == "relu":
            why = ""
        share = f"{html.thousands(matched)} of {html.thousands(trials)} trials {word}{why}"
        name = "largest required rank found" if part[0].cell.net.activation == "relu" else "required rank"
        lines.append(f"below the {name} (r &lt; κ = {kappa}) {share}")
    at = [summary for summary in part if summary.cell.budget == kappa]
    if at:
        worst, best = (choose(at, key=lambda s: s.probability) for choose in (min, max))
        span = f"from {html.value(worst)} ({_where(worst)}) to {html.value(best)} ({_where(best)})"
        lines.append(f"at r = κ = {kappa} {html.value(best) if worst.probability == best.probability else span}")
    above = [summary for summary in part if summary.cell.budget > kappa]
    if above:
        top = max(above, key=lambda s: (s.probability, -s.cell.budget))
        lines.append(f"largest beyond κ {html.value(top)} ({_where(top)}, r = {top.cell.budget})")
    return lines


def _where(summary: Summary) -> str:
    cell = summary.cell
    size = "" if cell.arguments == str(cell.budget) else f", {cell.arguments}"
    return escape(cell.strategy_label + size)


def existence(found: list[Summary]) -> str:
    """Existence against findability, cell by cell, where both were measured for the same trials."""
    exact = {(s.cell.network_label, s.cell.strategy_label, s.cell.arguments): s for s in found if s.cell.method == EXACT and s.trials}
    rows = []
    for summary in found:
        cell, true = summary.cell, exact.get((summary.cell.network_label, summary.cell.strategy_label, summary.cell.arguments))
        if true is None or cell.method == EXACT or not summary.trials or not true.matched:
            continue
        certified = f"{html.percent(true.certified / true.matched)}" if true.matched else "–"
        share = html.percent(summary.probability / true.probability)
        numbers = (html.value(true), certified, html.value(summary), share)
        names = map(escape, (cell.network_label, cell.strategy_label, cell.arguments))
        rows.append((*names, *numbers, escape(summary.quantity_text)))
    if not rows:
        return ""
    head = ("network", "strategy", "size", "match probability (existence)", "certified", "found", "found of what exists", "quantity")
    return f"""<h2>Existence against findability</h2>
<p>The same trials, decided and searched. The match probability says how often matching weights exist; <i>certified</i> is the share of
those matches whose solution is proven by an interval test, the others rest on the reasons named above. The found probability says how
often a search comes upon one; the last share is what it finds of what exists. Two allocations can be ordered one way by the first and the
other way by the second.</p>
{html.table(head, rows, (2, 3, 4, 5, 6))}"""


def controls(found: list[Summary]) -> str:
    rows, relu = [], False
    for summary in found:
        cell, kappa = summary.cell, summary.required_rank
        if not summary.trials or kappa is None or cell.budget != kappa - 1 or summary.quantity == "existence" or cell.method == EXACT:
            continue
        relu |= cell.net.activation == "relu"
        names = (cell.network_label, cell.strategy_label, cell.arguments)
        share = f"{summary.matched} of {html.thousands(summary.trials)}"
        rows.append((*map(escape, names), share, f"{summary.interval[1]:.2g}", escape(summary.quantity_text)))
    if not rows:
        return ""
    note = """For relu networks this is no strict control: a teacher in a region that needs fewer dimensions
can be
matched.""" if relu else ""  # fmt: skip
    head = ("network", "strategy", "size (r = κ − 1)", "found", "95 % upper limit", "quantity")
    return f"""<h2>Control: one weight too few</h2>
<p>At a finite tolerance an allocation that cannot match may still come close. With r = κ − 1 learnable
weights no match exists, so whatever is found there is a false alarm of the tolerance, and the found
probabilities above are trustworthy up to that share. {note}</p>
{html.table(head, rows, (2, 3, 4))}"""


def theory(spec: Spec, found: list[Summary]) -> str:
    title = "<h2>Theory against measurement</h2>"
    proofs = _against_proofs(found)
    judged = [summary for summary in found if summary.compared.trials() and summary.cell.method != EXACT]
    if not judged and proofs:
        return f"{title}{proofs}"
    if not judged:
        why = "yet"
        if spec.screen:
            why = "because <code>screen = true</code> lets theory answer for the fit"
        elif not spec.compare:
            why = "because <code>compare = 0</code>"
        return f"{title}<p>Nothing was compared {why}.</p>"
    groups: dict[tuple[str, str], Comparison] = {}
    for summary in judged:
        key = (summary.cell.network_label, summary.quantity_text)
        groups[key] = groups.get(key, Comparison()) + summary.compared
    rows = []
    for (network, quantity), counts in groups.items():
        for kind, meaning in KIND_TEXT.items():
            if counts.trials(kind):
                numbers = (
                    html.thousands(counts.trials(kind)),
                    html.thousands(counts.matched(kind)),
                    _accuracy(counts, kind),
                )
                rows.append((escape(network), kind, meaning, *numbers, escape(quantity)))
        definite = ("minimal", "maximal")
        trials, matched = (sum(map(count, definite)) for count in (counts.trials, counts.matched))
        names = (f"<b>{escape(network)}</b>", "<b>minimal + maximal</b>")
        covered = f"cover {html.percent(counts.coverage)} of the cases"
        numbers = (html.thousands(trials), html.thousands(matched), f"<b>{_accuracy(counts)}</b>")
        rows.append((*names, covered, *numbers, escape(quantity)))
    total = sum((summary.compared for summary in judged), Comparison()).trials()
    asked = sum(summary.trials for summary in found if not summary.cell.screen)  # exact cells are screened
    capped = ""
    if total < asked:
        capped = f"""Masks of {html.thousands(total)} of {html.thousands(asked)} trials were judged (the study's key
<code>compare</code> = {spec.compare} trials per cell)."""
    head = ("network", "predicted", "meaning", "trials", "found", "accuracy [95 % interval]", "quantity")
    return f"""{title}
<p>Each trial's own mask is judged by theory, and its verdict comes from a fit that is told no prediction and
screens nothing out, so the comparison can fail (outputs that are affine in the learnable weights are solved
by linear least squares, and the residual decides). {capped} Accuracy is stated over the definite
predictions, <i>minimal</i> (right if not found) and <i>maximal</i> (right if found), together with the share
of cases they cover; <i>intermediate</i> and <i>unknown</i> say nothing about a single trial. A
<i>maximal</i> trial that was not found is a failure of the search, not of the theorem; it counts against the
accuracy all the same.</p>
<ul>{"".join(_contradictions(groups))}</ul>
{html.table(head, rows, (3, 4, 5))}
{proofs}"""


def _against_proofs(found: list[Summary]) -> str:
    """The same for cells of the exact method, where a minimal prediction is no test: the rank is the proof as well."""
    groups: dict[str, list[Summary]] = {}
    for summary in found:
        if summary.cell.method == EXACT and summary.compared.trials():
            groups.setdefault(summary.cell.network_label, []).append(summary)
    rows = []
    for label, own in groups.items():
        counts = sum((summary.compared for summary in own), Comparison())
        kinds = [f"{html.thousands(counts.matched(kind))} of {html.thousands(counts.trials(kind))}" for kind in ("maximal", "intermediate")]
        others = (html.thousands(sum(getattr(summary, name) for summary in own)) for name in ("undecided", "by_theorem"))
        rows.append((escape(label), html.thousands(counts.trials("minimal")), *kinds, *others))
    if not rows:
        return ""
    head = ("network", "minimal: trials", "maximal: matched", "intermediate: matched", "undecided, all trials", "matched by theorem alone")
    return f"""<p>Against exact verdicts (match probability, existence): a maximal prediction is contradicted by a trial that is
proven to have no match. A minimal one is not tested here, because the rank that predicts it is also the proof. Trials matched by a theorem
alone, without a solution in hand, test nothing either.</p>
{html.table(head, rows, (1, 2, 3, 4, 5))}"""


def _accuracy(counts: Comparison, kind: str | None = None) -> str:
    if math.isnan(counts.accuracy(kind)):
        return "–"
    low, high = map(html.percent, counts.accuracy_interval(kind))
    return f"{html.percent(counts.accuracy(kind))} [{low}, {high}]"


def _contradictions(groups: Mapping[tuple[str, str], Comparison]) -> list[str]:
    """For each quantity, whether trials were matched that theory says cannot be."""
    lines = []
    for quantity in dict.fromkeys(quantity for _, quantity in groups):
        counts = sum((part for (_, other), part in groups.items() if other == quantity), Comparison())
        matched, trials = counts.matched("minimal"), counts.trials("minimal")
        name, share = escape(html.first_up(quantity)), f"{html.thousands(matched)} of {html.thousands(trials)} trials"
        if trials and not matched:
            text = "no contradiction, none of the trials predicted to have no match was matched"
            lines.append(f"<li>{name}: {text} ({share}).</li>")
        elif matched:
            flag = f'<span class="flag">{share} were matched although theory excludes a match.</span>'
            doubt = "A loose tolerance lets near misses pass (see the control); else something is wrong."
            lines.append(f"<li>{name}: {flag} {doubt}</li>")
    return lines


def against_references(found: list[Summary]) -> str:
    lines = references(found)
    if not lines:
        return ""
    rows = []
    for line in lines:
        cell, entry = line.summary.cell, line.reference
        names = (cell.network_label, cell.strategy_label, cell.arguments)
        starts = f" after {line.starts} start{'s' if line.starts != 1 else ''}" if entry.starts else ""
        known = "exact" if entry.trials is None else f"{html.thousands(entry.trials)} trials"
        flag = "above by more than 2" if line.deviation > 2 else ""
        if line.below:
            flag = '<span class="flag">below by more than 2 standard errors</span>'
        deviation = "∞" if math.isinf(line.deviation) else f"{line.deviation:+.1f}"
        values = (f"{line.measured:.4f}", f"{entry.value:.4g} ({known})")
        numbers = (*values, f"{line.measured - entry.value:+.4f}", f"{line.error:.4f}", deviation)
        remark = "; ".join(filter(None, (flag, escape(entry.note))))
        rows.append((*map(escape, names), cell.method + starts, *numbers, remark))
    below, expected = sum(line.below for line in lines), 0.0228 * len(lines)
    head = ("network", "strategy", "size", "method", "measured", "reference", "difference", "std. error",
            "in std. errors", "")  # fmt: skip
    return f"""<h2>Reference values</h2>
<p>Measured values beside values known from elsewhere. The standard error is that of their difference.
{below} of {len(lines)} values are below by more than 2 standard errors; by chance alone about {expected:.1f}
would be.</p>
{html.table(head, rows, (4, 5, 6, 7, 8))}"""
