"""The report of a study: what its page says first, what it carries, how large it may be, and that nothing is drawn twice."""

import csv
import dataclasses
import io
import json
import re
from html.parser import HTMLParser

import pytest

from sublearn import study
from sublearn.study.limits import Limits
from sublearn.study.report import digests, figures, heat_squares, page, pictures, svg
from sublearn.study.report import findings as facts
from sublearn.study.report.data import safe
from sublearn.study.report.sections import sections
from sublearn.study.summary import Summary, summaries
from sublearn.study.sweep import cells_of
from sublearn.study.tables import dataset
from tests import made_up_study as made_up

matplotlib = pytest.importorskip("matplotlib")
pytest.importorskip("matplotlib.figure")

SMALL = """
[study]
name = "two"
trials = 400
starts = 4
control = false
description = "Why this was asked."

[[network]]
label = "one </script><!-- <b>"
kind = "recurrent"
inputs = 2
hidden = 8
outputs = 2
steps = 6
shared = ["B", "D"]

[[network]]
label = "other"
kind = "recurrent"
inputs = 2
hidden = 6
outputs = 2
steps = 4
shared = ["B", "D"]

[[strategy]]
label = "scattered <i>"
kind = "scattered"
within = "W"
budgets = "5..12"

[[strategy]]
label = "rows"
kind = "rows"
within = "W"
budgets = "5..12"
"""


class Page(HTMLParser):
    """The parts of a page: tags with their attributes in order, and the texts of script elements by their id."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.scripts, self._script = [], {}, None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag == "script":
            self._script = dict(attributes).get("id", "code")

    def handle_endtag(self, tag):
        if tag == "script":
            self._script = None

    def handle_data(self, data):
        if self._script is not None:
            self.scripts[self._script] = self.scripts.get(self._script, "") + data


def written(folder, spec, cells=None):
    made_up.fill(folder, spec, cells)
    return study.write_report(folder, spec).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """(folder, page) of a study of two networks."""
    folder = tmp_path_factory.mktemp("two") / "s"
    return folder, written(folder, study.parse_spec(SMALL))


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """(folder, spec, page) of a study of 5000 cells; no figures on disk and limits made up, for the time they take."""
    folder, spec = tmp_path_factory.mktemp("large") / "s", made_up.large()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sublearn.study.report.figures.MOST_FIGURES", 0)
        for module in ("report.write", "tables"):
            patch.setattr(f"sublearn.study.{module}.limits_of", lambda found: [Limits(0.1, 0.9, True, False, 99)] * len(found))
        return folder, spec, written(folder, spec)


# What comes first


def test_each_network_has_a_sentence_and_a_figure_before_anything_else(two):
    text = two[1]
    first = text[: text.index('<h2 id="asked">')]
    cards = re.findall(r'<article class="card">(.*?)</article>', first, re.S)
    assert len(cards) == 2
    for card in cards:
        assert re.search(
            r"<p>\s*With the κ = \d+ weights that a match requires, a match is found in .+? of the trials with .+\.\s*</p>", card
        )
        assert card.count("<svg viewBox=") - card.count('aria-hidden="true"') == 1
        assert "Found probability (newton, 4 starts" in card and "match probability" not in card.lower()
    assert "Why this was asked." not in first and "Why this was asked." in text
    order = [
        text.index(words) for words in ('class="card"', "What was asked", "What is exact and what is estimated", ">Results<", "<table")
    ]
    assert order[0] < order[1] < order[2] < order[3] and order[4] > order[1]


def card_of(cell, **counts):
    """The sentence on one cell with these counts."""
    summary = Summary(cell)
    summary.add(made_up.row(cell, 10, 0.5) | {"compared": {}} | counts)
    spec = study.parse_spec(SMALL)
    told = next(s for s in sections(spec, [summary], [None]) if s.cells)
    text = page.render("card.html", section=facts.section(told, {cell.id: "–"}))
    return " ".join(re.sub(r"<[^>]*>", "", re.search(r"<p>(.*?)</p>", text, re.S)[1]).split())


def test_a_sentence_says_whether_a_match_exists_or_was_found():
    cells = {
        method: cells_of(study.parse_spec(SMALL.replace("starts = 4", f'starts = 4\nmethod = "{method}"')))
        for method in ("newton", "exact")
    }
    newton, exact = (next(cell for cell in own if cell.budget == 10) for own in cells.values())
    found = card_of(newton, matched=100, undecided=300, found_after=[1, 2, 3, 100])
    assert found.startswith("With the κ = 10 weights that a match requires, a match is found in 25 % [20.8, 29.6] of the trials")
    exists = card_of(exact, matched=100, unmatched=300, undecided=0, found_after=[], quantity="existence")
    assert "a match exists in 25 % [20.8, 29.6] of the trials" in exists and "found" not in exists
    almost = card_of(newton, matched=400, undecided=0, found_after=[1, 2, 3, 400])
    assert "100 % [99, 100]" in almost
    cell = next(cell for cell in cells["newton"] if cell.budget == 12)  # no cell at the required rank
    assert card_of(cell, matched=399, undecided=1, found_after=[1, 2, 3, 399]).startswith("A match is found in at most 99.8 % [")


def test_what_was_not_run_has_no_finding(tmp_path):
    text = written(tmp_path / "s", study.parse_spec(SMALL), [])
    assert text.count("Nothing was run yet.") >= 2 and "This study is not finished" in text and "is found in" not in text


# What the page carries


def test_data_agree_with_the_table(two):
    folder, text = two
    data = json.loads(Page(text).scripts["data"])
    lines = list(csv.DictReader(io.StringIO((folder / "results.csv").read_text(encoding="utf-8"))))
    cells, names = data["cells"], data["names"]
    assert cells["cell"] == [line["cell"] for line in lines] and len(lines) == 32
    for k, line in enumerate(lines):
        for name in ("network", "strategy", "quantity"):
            assert names[cells[name][k]] == line[name]
        assert str(cells["size"][k]) == line["arguments"] and cells["trials"][k] == int(line["trials"])
        for name, column in (("estimate", "probability"), ("low", "low95"), ("high", "high95")):
            assert cells[name][k] == pytest.approx(float(line[column]), abs=1e-6)
        assert cells["rank"][k] == (line["budget"] == line["required_rank"])


def test_points_of_curves_are_those_of_their_cells(two):
    folder, text = two
    data = json.loads(Page(text).scripts["data"])["cells"]
    curves = [tag for name, tag in Page(text).tags if name == "g" and "data-i" in tag and "data-t" not in tag]
    assert len(curves) == 4
    frame = svg.Frame((4.4, 12.6), (-0.03, 1.04))
    for curve in curves:
        numbers = {key: [float(value) for value in curve[f"data-{key}"].split(" ")] for key in "ixy"}
        for i, x, y in zip(numbers["i"], numbers["x"], numbers["y"], strict=True):
            assert x == pytest.approx(frame.at_x(data["size"][int(i)]), abs=0.06)
            assert y == pytest.approx(frame.at_y(data["estimate"][int(i)]), abs=0.06)


def test_nothing_is_loaded_and_scripts_are_small(two):
    text = two[1]
    parsed = Page(text)
    assert not re.search(r"(?i)https?:|//[a-z]+\.|@import|url\(", text)
    for tag, attributes in parsed.tags:
        assert tag not in ("link", "iframe", "img", "object", "embed") and not {"src", "srcset", "onclick"} & set(attributes), (
            tag,
            attributes,
        )
    assert set(parsed.scripts) == {"data", "code"} and len(parsed.scripts["code"].encode()) < 20_000


def test_labels_cannot_end_scripts_or_become_tags(two):
    text = two[1]
    parsed = Page(text)
    assert "<i>" not in re.sub(r"<i>(minimal|maximal|intermediate|unknown|exist|exact|newton|descent|certified)\b", "", text)
    assert "one </script" not in text and json.loads(parsed.scripts["data"])["names"][0] == "one </script><!-- <b>"
    for nasty in ("</script>", "<!--", "]]>", "\u2028", "a & b", '"'):
        assert json.loads(safe([nasty])) == [nasty] and not re.search("[<>&\u2028]", safe([nasty]))
    with pytest.raises(ValueError, match="JSON"):
        safe(float("nan"))


def test_every_curve_has_a_switch_that_a_keyboard_reaches(two):
    for figure in re.findall(r'<figure class="curves".*?</figure>', two[1], re.S):
        switches = re.findall(r'<button type="button" data-k="([^"]*)" aria-pressed="true">', figure)
        curves = re.findall(r' data-k="([^"]*)" data-i', figure)
        assert set(" ".join(curves).split()) == set(switches) and curves


# Families


def test_a_family_is_one_section_with_heat_maps(tmp_path):
    spec = made_up.family((4, 8, 12), (6,))
    text = written(tmp_path / "s", spec)
    assert text.count('<article class="card">') == 1 and text.count("<article") == 1
    card = re.search(r'<article class="card">(.*?)</article>', text, re.S)[1]
    assert "Over 3 networks" in card and "hidden 4, 8, 12" in card
    data = json.loads(Page(text).scripts["data"])
    (heat,) = data["heat"].values()
    assert len(heat["squares"]) == 2 and all(len(squares) == 3 * 6 for squares in heat["squares"].values())
    cells = cells_of(spec)
    for number, squares in heat["squares"].items():
        for place, i in enumerate(squares):
            cell = cells[i]
            assert cell.parameters["hidden"] == (4, 8, 12)[place // 6] and cell.budget == 4 + place % 6
            assert cell.strategy_label == ("scattered", "rows")[int(number)]
    names = {path.stem for path in (tmp_path / "s" / "figures").glob("*.png")}
    assert names == {"heat-map-net-scattered-newton", "heat-map-net-rows-newton"}
    found = summaries(cells, study.Store(tmp_path / "s").rows)
    plan = next(plan for plan in figures._plans(spec, found) if plan.name == "heat map net rows newton")
    ax = matplotlib.figure.Figure().add_subplot()
    plan.draw(dataset(spec, found), ax)
    rows = {(s.cell.parameters["hidden"], s.cell.budget): s.probability for s in found if s.cell.strategy_label == "rows"}
    assert ax.images[0].get_array().tolist() == [[rows[h, r] for r in range(4, 10)] for h in (4, 8, 12)]
    assert [text.get_text() for text in ax.get_yticklabels()] == ["4", "8", "12"] and ax.get_ylabel() == "hidden"


def test_two_swept_parameters_are_shown_at_the_required_rank_and_at_budgets(tmp_path):
    spec = made_up.family((4, 8), (4, 5, 6), "4..12")
    cells = cells_of(spec)
    made_up.fill(tmp_path / "s", spec)
    found = summaries(cells, study.Store(tmp_path / "s").rows)
    (section,) = sections(spec, found, [None] * len(found))
    assert [set(heat.choices) for heat in section.heats] == [{"strategy", "budget r"}, {"strategy", "steps"}, {"strategy", "hidden"}]
    heat = section.heats[0]
    assert heat.choices["budget r"][0] == heat_squares.REQUIRED and heat.start == "0,0"
    for place, i in enumerate(heat.squares["0,0"]):
        assert found[i].cell.budget == found[i].required_rank and found[i].cell.parameters["steps"] == (4, 5, 6)[place % 3]
    assert sorted(i for key, squares in heat.squares.items() if not key.endswith(",0") for i in squares) == list(range(len(cells)))


def test_many_strategies_become_a_heat_map(tmp_path):
    text = SMALL.split("[[strategy]]")[0]
    for number in range(14):
        text += f'[[strategy]]\nlabel = "s{number}"\nkind = "block"\nwithin = "W"\nnetworks = ["other"]\n'
        text += f"budgets = [{{ shape = [{1 + number % 6}, {1 + number // 6}] }}, {{ shape = [{1 + number % 6}, {4 + number // 6}] }}]\n"
    made = written(tmp_path / "s", study.parse_spec(text))
    card = re.findall(r'<article class="card[^>]*>(.*?)</article>', made, re.S)[1]
    assert 'data-heat="h1-0"' in card and 'class="curves"' not in card
    curves = re.findall(r'<figure class="curves".*?</figure>', made, re.S)
    assert [figure.count("<button") for figure in curves][:2] == [12, 2]  # all of them stand below; then those over starts


# Other quantities


def test_values_beyond_one_have_axes_of_their_own():
    cells = [cell for cell in cells_of(study.parse_spec(SMALL)) if cell.network_label == "other" and cell.strategy_label == "rows"]

    class Mean(Summary):
        quantity, quantity_text = "mean", "mean relative loss"
        estimate = property(lambda self: float(self.matched))
        interval = property(lambda self: (self.matched - 3.0, self.matched + 3.0))

    found = []
    for cell in cells:
        found.append(Mean(cell))
        found[-1].add(made_up.row(cell, 6, 0.5) | {"compared": {}})
    drawing = pictures.Drawing({cell.id: k for k, cell in enumerate(cells)}, [None] * len(cells), {"rows": ("#000", 0)})
    picture = drawing.over_budgets("other", found)
    ticks = [float(word) for word in re.findall(r'class="y">([^<]*)<', picture.body)]
    assert max(ticks) > 100 and picture.quantity == "mean relative loss"
    assert page.value(found[-1]) == f"{found[-1].estimate:.4g} [{found[-1].interval[0]:.4g}, {found[-1].interval[1]:.4g}]"


def test_means_stand_beside_probabilities_of_the_same_method(tmp_path):
    """As cells of another quantity will: never on one axis, under one colour or in one count with shares of trials."""
    spec = made_up.family((4, 8), (6,))

    class Mean(Summary):
        quantity, quantity_text = "mean", "mean relative loss"
        estimate = property(lambda self: 7.0 + self.cell.budget)
        interval = property(lambda self: (self.estimate - 1, self.estimate + 1))

    found = []
    for cell in cells_of(spec):
        found.append((Mean if cell.strategy_label == "rows" else Summary)(cell))
        found[-1].add(made_up.row(cell, 6, 0.5) | ({"compared": {}} if cell.strategy_label == "rows" else {}))
    (section,) = sections(spec, found, [None] * len(found))
    assert [(heat.quantity, heat.ends) for heat in section.heats] == [
        (found[0].quantity_text, (0.0, 1.0)),
        ("mean relative loss", (11.0, 16.0)),
    ]
    quantities = [[picture.quantity for picture in part.pictures] for part in section.parts]
    assert quantities == [[found[0].quantity_text, "mean relative loss"]] * 2
    assert facts.section(section, dict.fromkeys((s.cell.id for s in found), "–"))["finding"]["is_share"]
    assert not any(s.quantity == "mean" for s in facts.controls(found))
    names = {plan.name: plan for plan in figures._plans(spec, found)}
    assert set(names) == {"heat map net rows newton", "heat map net scattered newton"}  # none of each network


def test_widths_and_activations_may_be_swept():
    assert [heat_squares.value_of({"widths": value}, "widths") for value in ((3, 4, 2), [3, 4], "relu", 4, True, None)] == [
        "3-4-2", "3-4", "relu", 4, True, None]  # fmt: skip
    spec = made_up.family((4, 8), (6,))
    networks = [dataclasses.replace(e, parameters={"widths": (2, e.parameters["hidden"], 2)}) for e in spec.networks]
    spec = dataclasses.replace(spec, networks=tuple(networks))
    found = [Summary(cell) for cell in cells_of(spec)]
    for summary in found:
        summary.add(made_up.row(summary.cell, 6, 0.5))
    (section,) = sections(spec, found, [None] * len(found))
    assert section.swept == {"widths": ["2-4-2", "2-8-2"]} and "2-4-2" in section.heats[0].body
    plan = next(plan for plan in figures._plans(spec, found) if plan.name.startswith("heat map"))
    ax = matplotlib.figure.Figure().add_subplot()
    plan.draw(dataset(spec, found), ax)
    assert [text.get_text() for text in ax.get_yticklabels()] == ["2-4-2", "2-8-2"]


# Scale


def test_five_thousand_cells_make_a_small_page(large):
    folder, spec, text = large
    assert len(text.encode()) < 20e6
    data = json.loads(Page(text).scripts["data"])
    assert len(data["cells"]["cell"]) == 5000 and text.count("<tr>") > 5000
    assert "2 more are drawn only there" in text and "Of families of networks the folder has heat maps" in text


def test_findings_of_many_networks_are_folded(tmp_path):
    networks = "".join(
        f'[[network]]\nlabel = "n {k}"\nkind = "recurrent"\ninputs = 2\noutputs = 2\nhidden = {4 + k}\nsteps = 4\nshared = ["B", "D"]\n'
        for k in range(30)
    )
    head, _, strategies = SMALL.partition("[[network]]")
    text = written(tmp_path / "s", study.parse_spec(head + networks + "[[strategy]]" + strategies.split("[[strategy]]")[1]))
    before, folded = text[: text.index('<h2 id="asked">')].split("<details><summary>6 more networks</summary>")
    assert before.count('<article class="card') == 24 and folded.count('<article class="card') == 6
    assert all(f'<details id="n{k}"><summary><b>n {k}</b> (8 cells)' in text for k in range(30))


# Nothing twice


def stamps(folder):
    return {
        path.name: path.stat().st_mtime_ns for path in (*folder.glob("figures/*"), *folder.glob("report.html"), *folder.glob("results.csv"))
    }


def test_a_second_report_touches_nothing(two, monkeypatch):
    folder, _ = two
    before = stamps(folder)
    monkeypatch.setattr("sublearn.study.report.write.summaries", lambda *_: pytest.fail("nothing is to be added up"))
    study.write_report(folder, study.parse_spec(SMALL, "elsewhere.toml"))
    assert stamps(folder) == before and len(before) > 20


def test_a_new_row_draws_the_figures_of_its_network_only(tmp_path):
    folder, spec = tmp_path / "s", study.parse_spec(SMALL)
    cells = cells_of(spec)
    late = next(cell for cell in cells if cell.network_label == "other")
    written(folder, spec, [cell for cell in cells if cell is not late])
    before = stamps(folder)
    written(folder, spec, [late])
    after = stamps(folder)
    changed = {name for name in after if after[name] != before.get(name)}
    figures = {name for name in changed if name.endswith((".png", ".pdf", ".svg"))}
    assert figures and all("other" in name for name in figures) and {"report.html", "results.csv", digests.NAME} <= changed
    assert any("one" in name for name in set(after) - changed)


def test_a_figure_that_is_gone_is_drawn_again_and_old_ones_are_taken_away(tmp_path):
    folder, spec = tmp_path / "s", study.parse_spec(SMALL)
    written(folder, spec)
    gone = next(folder.glob("figures/probability-other*.pdf"))
    gone.unlink()
    study.write_report(folder, spec)
    assert gone.exists()
    fewer = study.parse_spec(SMALL.replace('label = "other"', 'label = "renamed"'))
    study.write_report(folder, fewer)
    names = [path.name for path in folder.glob("figures/*.*")]
    assert any("renamed" in name for name in names) and not any("other" in name for name in names)


def test_a_digest_depends_on_the_code_that_draws(monkeypatch):
    before = digests.digest("a", 1)
    assert digests.digest("a", 1) == before != digests.digest("a1")
    monkeypatch.setattr(digests, "_program", lambda: "another")
    assert digests.digest("a", 1) != before


@pytest.mark.parametrize("content", ["", "[]", '{"report.html": 3}', "no json"])
def test_digests_that_cannot_be_read_draw_anew(tmp_path, content):
    (tmp_path / digests.NAME).write_text(content, encoding="utf-8")
    assert not digests.Digests(tmp_path).keep("report.html", "x", [])


# SVG


def test_ticks_are_round_and_cover():
    for low, high in ((0, 1), (3.2, 97), (-0.4, 0.9), (1e-7, 9e-7), (12, 12)):
        ticks = svg.steps(low, high, 8)
        assert 1 <= len(ticks) <= 12 and all(low - 1e-9 <= tick <= high + 1e-9 for tick in ticks)
    assert svg.some([4, 5, 9]) == [4, 5, 9] and all(tick == int(tick) for tick in svg.some(range(4, 400)))


def test_colours_rise_in_lightness_and_curves_break_at_gaps():
    light = [sum(int(svg.colour(k / 20)[j : j + 2], 16) * w for j, w in ((1, 0.3), (3, 0.6), (5, 0.1))) for k in range(21)]
    assert light == sorted(light)
    assert pictures.joined([4, 5, 8, 8, 9]) == ([[0, 1], [2], [3, 4]], [2])
    assert [heat_squares.short(value, (0.0, 1.0)) for value in (0, 1e-4, 0.25, 0.9999, 1)] == ["0", ">0", ".25", "<1", "1"]
