"""What reports and figures say of theory's limits, and what figures draw: limits on the right side, points where they were measured."""

import csv
import io
import re
from importlib import resources

import numpy as np
import pytest

from sublearn import study
from sublearn.match.probability import EXISTENCE
from sublearn.numerics.intervals import clopper_pearson
from sublearn.study import limits, plot
from sublearn.study.plot import curves
from sublearn.study.plot.limit_bars import LIMIT_TEXTS
from sublearn.study.report import findings, page, setting
from sublearn.study.report.digests import NAME
from sublearn.study.report.sections import sections
from sublearn.study.summary import summaries
from sublearn.study.sweep import cells_of
from sublearn.study.tables import csv_text
from sublearn.theory.certain import certain

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
from matplotlib.figure import Figure  # noqa: E402


@pytest.fixture(scope="module", autouse=True)
def _drawn(figures_drawn):
    with figures_drawn():
        yield


LABELS = ("_under", "a $x_{ b$ <i>", "x" * 50 + " word" * 60, "two\nlines & 50 %", "plain")
GAPS = (
    """
[study]
name = "gaps"
trials = 30
starts = 3
control = false

[[network]]
label = "net $y_{$ #1"
kind = "recurrent"
inputs = 1
hidden = 4
outputs = 1
steps = 5
shared = ["B", "D"]

[[network]]
label = "relu"
kind = "feedforward"
widths = [2, 4, 2]
samples = 3
activation = "relu"
"""
    + "".join(
        f"""
[[strategy]]
label = {label!r}
kind = "{kind}"
within = "W"
networks = ["net $y_{{$ #1"]
budgets = {budgets}
"""
        for label, kind, budgets in zip(
            LABELS, ("scattered", "rows", "columns", "diagonal", "scattered"), ([3, 4, 6], [4, 5, 9], [4, 5], [4], [5])
        )
    )
    + """
[[strategy]]
label = "_one"
kind = "scattered"
networks = ["relu"]
budgets = [8]

[[strategy]]
label = "last $"
kind = "scattered"
within = "W2"
networks = ["relu"]
budgets = [6, 8]
"""
)
NET = "net $y_{$ #1"


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """(folder, data) of a small study whose budgets have gaps and whose labels are hard to draw."""
    folder = tmp_path_factory.mktemp("gaps") / "sublearn-gaps"
    text = GAPS.replace("label = 'two\\nlines", 'label = "two\\nlines').replace("50 %'", '50 %"')
    study.run(study.parse_spec(text), folder)
    return folder, study.load(folder)


@pytest.fixture(scope="module")
def built_in(tmp_path_factory):
    """Cells of the built-in study with a few of its trials, the newton ones: (summary, its limits)."""
    text = (resources.files("sublearn.study") / "default.toml").read_text(encoding="utf-8")
    text = text.replace("trials = 4096", "trials = 300\ncompare = 40").replace('method = ["newton", "descent"]', 'method = "newton"')
    folder = tmp_path_factory.mktemp("built-in") / "s"
    spec = study.parse_spec(re.sub("starts = 10", "starts = 2", text))
    study.run(spec, folder)
    found = summaries(cells_of(spec), study.Store(folder).rows)
    return folder, list(zip(found, limits.limits_of(found), strict=True))


# Limits


def test_limits_of_the_built_in_study_are_on_the_right_side(built_in):
    """Against exact intervals of what was measured. Forty masks are judged: their shares would contradict three hundred trials."""
    exact = wrong_shares = 0
    for summary, said in built_in[1]:
        low, high = clopper_pearson(summary.matched, summary.trials, 0.999)
        assert said.judged == 40 and 0 <= said.lower <= said.upper <= 1
        assert said.upper >= low, f"{summary.cell.describe()}: at most {said.upper}, measured {summary.probability}"
        if summary.quantity == "existence":
            assert said.lower <= high, f"{summary.cell.describe()}: at least {said.lower}, measured {summary.probability}"
        share = 1 - summary.compared.trials("minimal") / 40
        wrong_shares += share < low
        exact += said.exact_lower and said.exact_upper
    assert exact >= 60 and wrong_shares >= 1


def test_limits_of_the_built_in_study_are_counted_where_they_can_be(built_in):
    known = {(s.cell.network_label, s.cell.strategy_label, s.cell.arguments): said for s, said in built_in[1]}
    for budget, value in ((6, 18 / 77), (7, 6 / 11), (8, 0.8), (10, 1.0)):
        said = known["deep linear", "first layer", str(budget)]
        assert (said.lower, said.upper) == (pytest.approx(value), pytest.approx(value)) and said.exact_lower and said.exact_upper
    assert known["recurrent", "scattered", "10"].upper == pytest.approx(0.9994450546)
    assert known["recurrent", "two random rows", "2 rows x 5"] == (1, 1, True, True, 40)
    assert known["recurrent", "scattered", "9"] == (0, 0, True, True, 40)  # fewer weights than kappa: no sample is needed
    every = known["deep linear", "all layers", "7"]
    assert not every.exact_lower and every.lower < every.upper and "estimated: 95 %, from 40 masks drawn" in str(every)


def test_tables_say_which_limits_are_estimated(built_in):
    folder, cells = built_in
    spec, found = study.Store(folder).spec(), [summary for summary, _ in cells]
    texts = {s.cell.id: text for s, text in zip(found, findings.texts_of([said for _, said in cells]), strict=True)}
    told = [findings.section(section, texts) for section in sections(spec, found, [said for _, said in cells])]
    text = "".join(page.render("network.html", section=section) for section in told)
    text += page.render("asked.html", setting=setting.asked(spec, found))
    assert "= 0.23377" in text and "~: estimated from drawn masks" in text and re.search(r"~0\.\d+ to 1<", text)
    assert "(largest found)" in text and "largest required rank found (r &lt; κ = 8)" in text
    data = study.load(folder)
    assert data["theory_high"].values.tolist() == [said.upper for _, said in cells]
    lines = list(csv.DictReader(io.StringIO(csv_text(found))))
    for line, (_, said) in zip(lines, cells, strict=True):
        assert float(line["theory_at_most"]) == pytest.approx(said.upper, abs=1e-9)
        assert line["theory_at_least_exact"] == str(said.exact_lower) and line["theory_at_most_exact"] == str(said.exact_upper)
    assert data["theory_low_exact"].values.tolist() == [said.exact_lower for _, said in cells]


def test_masks_judged_for_limits_are_capped(built_in, monkeypatch):
    monkeypatch.setattr(limits, "_ALL_MASKS", 5000)  # 4368 masks of the middle layer with five weights need no judging: r < kappa
    certain.cache_clear()
    asked = []
    monkeypatch.setattr(limits, "certain", lambda *question: asked.append(question) or certain(*question))
    said = limits.limits_of([summary for summary, _ in built_in[1] if summary.cell.strategy_label == "middle layer"])
    exact = [limit.exact_upper for limit in said]
    assert 0 < sum(exact) < len(exact) and sum(bool(question[3]) for question in asked) < len(exact)


# Figures


def drawn(ax, marker=True):
    """(x, y, gid) of the lines with data."""
    return [(line.get_xdata(), line.get_ydata(), line.get_gid()) for line in ax.lines
            if len(line.get_xdata()) and (line.get_marker() not in ("None", None, "")) == marker]  # fmt: skip


def test_points_stand_at_their_budgets_and_lines_end_at_gaps(gaps):
    data = gaps[1]
    ax = plot.probability(data, NET, Figure().add_subplot())
    points = {(float(x), round(float(y), 9)) for xs, ys, _ in drawn(ax) for x, y in zip(xs, ys)}
    own = data.isel(cell=np.flatnonzero(data["network"].values == NET))
    assert points == {(float(b), round(float(p), 9)) for b, p in zip(own["budget"].values, own["probability"].values)}
    joins = [(x, gid) for x, _, gid in drawn(ax, marker=False) if gid in (None, "guide") and len(set(x)) > 1]
    assert all((np.diff(x) == 1).all() for x, gid in joins if gid is None)
    guides = sorted(tuple(x) for x, gid in joins if gid == "guide")
    assert guides == [(4, 6), (5, 9)]
    assert not any(hasattr(band, "get_paths") and len(band.get_paths()[0].vertices) > 2 for band in ax.collections)  # no band between
    assert "guide: not measured between" in [text.get_text() for text in ax.get_legend().get_texts()]


def test_cells_of_one_budget_are_not_joined():
    ax = Figure().add_subplot()
    curves.joined(ax, np.array([4, 6, 6, 7]), np.array([0.1, 0.2, 0.9, 1.0]), color="k")
    lines = [(line.get_xdata().tolist(), line.get_gid()) for line in ax.lines]
    assert lines == [([4], None), ([6], None), ([6, 7], None), ([4, 6], "guide")]


def test_cells_without_trials_are_not_drawn(gaps):
    data = gaps[1].copy(deep=True)
    data["trials"].values[0] = 0
    data["probability"].values[0] = np.nan
    ax = plot.probability(data, NET, Figure().add_subplot())
    assert not any(np.isnan(y).any() for _, y, _ in drawn(ax)) and 3 not in ax.get_xticks()


def test_limits_are_drawn_at_their_values_and_estimates_are_told_apart(gaps):
    data = gaps[1].copy(deep=True)
    place = int(np.flatnonzero((data["strategy"].values == "plain") & (data["network"].values == NET))[0])
    names = ("theory_low", "theory_high", "theory_low_exact", "theory_high_exact")
    for values, gids in (((0.25, 0.75, True, False), {"theory_low", "theory_high_estimated"}),
                         ((0.5, 0.5, True, True), {"theory_exactly"}), ((0.0, 1.0, True, True), set())):  # fmt: skip
        for name, value in zip(names, values):
            data[name].values[place] = value
        ax = plot.probability(data.isel(cell=[place]), NET, Figure().add_subplot())
        bars = {line.get_gid(): line for line in ax.lines if str(line.get_gid()).startswith("theory")}
        assert set(bars) == gids
        for gid, line in bars.items():
            y = line.get_ydata()
            assert line.get_xdata()[1] < 5 < line.get_xdata()[2] and y[1] == y[2] == values[1 if "high" in gid or "exactly" in gid else 0]
            assert np.sign(y[0] - y[1]) == (-1 if "high" in gid else 1 if "low" in gid else 0)  # feet
            assert (line.get_linestyle() == "--") == gid.endswith("estimated")
        told = [text.get_text() for text in ax.get_legend().get_texts()]
        assert [LIMIT_TEXTS[gid] for gid in LIMIT_TEXTS if gid in gids] == told[1:]


def test_an_axis_with_proven_and_searched_cells_names_both(gaps):
    data = gaps[1].copy(deep=True)
    cells = np.flatnonzero(data["network"].values == NET)
    assert set(data["quantity"].values[cells].tolist()) == {"found"}
    data["quantity"] = data["quantity"].astype("U9")
    data["quantity"].values[cells[0]] = "existence"
    data["quantity_text"] = data["quantity_text"].astype("U80")
    data["quantity_text"].values[cells[0]] = EXISTENCE
    ax = plot.probability(data, NET, Figure().add_subplot())
    assert ax.get_ylabel().startswith("found probability") and ax.get_ylabel().endswith(f"or (ringed) {EXISTENCE}")
    rings = [line for line in ax.lines if line.get_markerfacecolor() == "none" and len(line.get_xdata())]
    assert [tuple(line.get_xdata()) for line in rings] == [(3,)]
    alone = plot.probability(data.isel(cell=cells[:1]), NET, Figure().add_subplot())
    assert alone.get_ylabel().replace("\n", " ") == EXISTENCE
    assert not any(line.get_markerfacecolor() == "none" and len(line.get_xdata()) for line in alone.lines)


def test_a_required_rank_of_relu_is_said_to_be_sampled(gaps):
    ax = plot.probability(gaps[1], "relu", Figure().add_subplot())
    assert any(re.fullmatch(r"required rank κ = \d+ \(sampled: the largest found\)", text.get_text()) for text in ax.texts)
    ax = plot.probability(gaps[1], NET, Figure().add_subplot())
    assert any(text.get_text() == "required rank κ = 4" for text in ax.texts)


def test_labels_are_shown_as_they_are(gaps):
    ax = plot.probability(gaps[1], NET, Figure().add_subplot())
    told = [text.get_text() for text in ax.get_legend().get_texts()][:5]
    assert told == ["_under", "a $x_{ b$ <i>", told[2], "two lines & 50 %", "plain"]
    assert told[2].count("\n") == 2 and told[2].endswith(" …")


def test_reports_do_not_depend_on_labels_or_on_the_users_matplotlib(gaps, monkeypatch):
    """Formulas in labels, LaTeX asked for by a matplotlibrc: figures are the same bytes, and drawing later works too."""
    monkeypatch.setattr("sublearn.study.report.figures.MOST_FIGURES", 6)  # drawing takes its time
    folder, data = gaps
    figures = folder / "figures"
    study.write_report(folder)
    before = {path.name: path.read_bytes() for path in figures.glob("*.*")}
    (figures / NAME).unlink()  # else nothing is drawn again
    with matplotlib.rc_context({"text.usetex": True, "font.size": 20, "axes.formatter.use_mathtext": True, "savefig.dpi": 30}):
        study.write_report(folder)
        fig = Figure()
        axes = fig.subplots(1, 2)
        plot.probability(data, NET, axes[0])
        plot.probability(data.isel(cell=np.flatnonzero(data["budget"].values == 8)), "relu", axes[1])  # bars: labels under them
        assert [text.get_text() for text in axes[1].get_xticklabels()] == ["_one", "last $"]
        fig.draw_without_rendering()
    after = {path.name: path.read_bytes() for path in figures.glob("*.*")}
    assert before == after and len(before) > 15


def test_the_look_does_not_stay(gaps):
    with matplotlib.rc_context({"lines.linewidth": 7.0}):
        with plot.style():
            assert matplotlib.rcParams["lines.linewidth"] != 7.0 and not matplotlib.rcParams["text.usetex"]
        assert matplotlib.rcParams["lines.linewidth"] == 7.0


# Figures for papers


def sizes(ax):
    """Sizes of texts, widths of lines and sizes of markers in an ax."""
    texts = {text.get_fontsize() for text in [ax.xaxis.label, ax.yaxis.label, *ax.get_xticklabels(), *ax.get_legend().get_texts()]}
    lines = {line.get_linewidth() for line in ax.lines if line.get_marker() in ("None", None, "") and line.get_gid() is None}
    markers = [line.get_markersize() for line in ax.lines if line.get_marker() not in ("None", None, "") and len(line.get_xdata())]
    return texts, max(lines), max(markers)


def test_the_users_own_settings_hold(gaps):
    pyplot = pytest.importorskip("matplotlib.pyplot")
    plain = sizes(plot.probability(gaps[1], NET))
    cycle = matplotlib.cycler(color=["#123456", "#654321", "#abcdef", "#fedcba", "#00ff00", "#ff00ff"])
    small = {"font.size": 6, "lines.linewidth": 0.8, "lines.markersize": 2.25, "figure.figsize": (3.3, 2.0)}
    with matplotlib.rc_context(small | {"axes.prop_cycle": cycle, "text.color": "#ff0000", "axes.facecolor": "#fffff0"}):
        ax = plot.probability(gaps[1], NET)
        assert ax.figure.get_size_inches().tolist() == [3.3, 2.0]
        texts, line, marker = sizes(ax)
        assert max(texts) <= 6 < 7 < max(plain[0])
        assert line == pytest.approx(plain[1] / 2) and marker == pytest.approx(plain[2] / 2)
        assert {"#123456", "#654321"} <= {line.get_color() for line in ax.lines}
        assert ax.get_legend().get_texts()[0].get_color() == "#ff0000"
        ax.figure.draw_without_rendering()
    pyplot.close("all")


def test_two_panels_share_a_legend_below(gaps):
    fig = Figure(figsize=(5.5, 2.6), layout="constrained")
    axes = fig.subplots(1, 2)
    short = {str(text): "found probability" for text in gaps[1]["quantity_text"].values}
    plot.probability(gaps[1], NET, axes[0], legend=fig, labels=short)
    plot.probability(gaps[1], "relu", axes[1], legend=False, labels=short)
    fig.draw_without_rendering()
    assert axes[0].get_legend() is axes[1].get_legend() is None and len(fig.legends) == 1
    boxes = [ax.get_window_extent() for ax in axes]
    assert min(box.width for box in boxes) > 1.5 * fig.dpi and fig.legends[0].get_window_extent().y1 < min(box.y0 for box in boxes)
    assert 0 <= fig.legends[0].get_window_extent().x0 and fig.legends[0].get_window_extent().x1 <= fig.bbox.width
    for ax in axes:
        ticks = [text.get_window_extent() for text in ax.get_xticklabels() if text.get_text() and text.get_visible()]
        assert all(one.x1 < two.x0 for one, two in zip(ticks, ticks[1:]))
    for ax in (axes[0].xaxis.label, axes[0].yaxis.label):
        box = ax.get_window_extent()
        assert box.x0 >= 0 and box.y0 >= 0 and box.y1 <= fig.bbox.height


@pytest.mark.parametrize("legend, place", [("lower right", 4), ({"loc": "upper left", "ncols": 2}, 2)])
def test_a_legend_goes_where_it_is_asked_to(gaps, legend, place):
    assert plot.probability(gaps[1], NET, Figure().add_subplot(), legend=legend).get_legend()._loc == place
    with pytest.raises(TypeError, match="legend: expected True, False, a place, a dict or a Figure, got 3"):
        plot.probability(gaps[1], NET, Figure().add_subplot(), legend=3)


def test_texts_of_ones_own_stand_for_labels_and_may_hold_formulas(gaps):
    text = str(gaps[1]["quantity_text"].values[0])
    labels = {"_under": "$\\mathcal{A}$ under", "plain": "even", text: "found, $p$", "net": "no label of the study"}
    ax = plot.probability(gaps[1], NET, Figure().add_subplot(), labels=labels)
    told = ax.get_legend().get_texts()
    assert [entry.get_text() for entry in told][:5:4] == ["$\\mathcal{A}$ under", "even"] and ax.get_ylabel() == "found, $p$"
    maths = [entry.get_parse_math() for entry in told]
    assert maths[0] and not maths[1] and ax.yaxis.label.get_parse_math()
    ax.figure.draw_without_rendering()


def test_heat_maps_hold_the_values_and_name_what_is_wrong(gaps):
    data = gaps[1].isel(cell=np.flatnonzero(gaps[1]["network"].values == NET))
    ax = plot.heat_map(data, "strategy", ax=Figure().add_subplot())
    grid = ax.images[0].get_array()
    strategies, budgets = list(dict.fromkeys(data["strategy"].values.tolist())), sorted(set(data["budget"].values.tolist()))
    for cell in range(data.sizes["cell"]):
        one = data.isel(cell=cell)
        assert grid[strategies.index(one["strategy"]), budgets.index(one["budget"])] == one["probability"]
    assert grid.mask.sum() == len(strategies) * len(budgets) - data.sizes["cell"]
    assert ax.yaxis_inverted()  # names are read from the top
    for wrong, message in ((dict(rows="nothing"), "rows: expected one of .*'strategy'.*, got 'nothing'"),
                           (dict(rows="method"), r"data: expected one cell for each \(method, budget\), got several"),
                           (dict(rows="strategy", method="exact"), "expected measured cells of 'one quantity', got none")):  # fmt: skip
        with pytest.raises(ValueError, match=message):
            plot.heat_map(data, ax=Figure().add_subplot(), **wrong)


def test_other_quantities_have_axes_of_their_own(gaps):
    data = gaps[1].copy(deep=True)
    own = data["network"].values == NET
    data["quantity"] = ("cell", np.where(own, "mean", data["quantity"].values))
    data["quantity_text"] = ("cell", np.where(own, "mean relative loss", data["quantity_text"].values))
    for name in ("low", "high"):
        data[name] = 200 + 50 * data[name]
    data["estimate"] = 200 + 50 * data["probability"]
    ax = plot.probability(data, NET, Figure().add_subplot())
    low, high = ax.get_ylim()
    assert 190 < low < 201 and 220 < high < 260 and ax.get_ylabel() == "mean relative loss"
    points = np.concatenate([y for _, y, _ in drawn(ax)])
    assert points.min() >= 200


def test_letters_of_pdf_figures_are_outlines_that_journals_take(gaps, monkeypatch):
    monkeypatch.setattr("sublearn.study.report.figures.MOST_FIGURES", 6)
    study.write_report(gaps[0])
    for path in gaps[0].glob("figures/*.pdf"):
        assert b"/Type3" not in path.read_bytes() and b"/CIDFontType2" in path.read_bytes()
