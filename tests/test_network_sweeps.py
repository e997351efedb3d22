"""Studies that sweep the keys of a network: the networks of a table, their cells, and budgets in terms of each network."""

import re
import time
from dataclasses import replace
from pathlib import Path

import pytest

import sublearn as sl
from sublearn import study
from sublearn.study.budgets import budgets_in, numbers_in

TEXT = """
[study]
name = "sizes"
control = false

[[network]]
label = "rec"
kind = "recurrent"
inputs = 1
hidden = [4, 8]
outputs = 1
steps = "3..5 step 2"
shared = ["B", "D"]
trials = 17

[[network]]
label = "ff"
kind = "feedforward"
widths = [[3, 4, 2], [3, 4, 4, 2]]
samples = 3
activation = ["linear", "relu"]

[[network]]
label = "one"
kind = "feedforward"
widths = [3, 4, 2]
samples = 2

[[strategy]]
label = "s"
kind = "scattered"
within = "W"
networks = ["rec"]
budgets = BUDGETS
"""


def sizes(budgets, more="", text=TEXT):
    """(hidden, steps) to the budgets of its cells."""
    spec = study.parse_spec(text.replace("BUDGETS", budgets) + more, "sizes.toml")
    found = {}
    for cell in study.cells_of(spec):
        if cell.family == "rec":
            found.setdefault(tuple(cell.parameters.values()), []).append(cell.budget)
    return found


def kappa(hidden, steps):
    return sl.required_rank(sl.Recurrent(1, hidden, 1, steps), ("B", "D"))


def test_a_table_makes_the_product_of_its_values():
    spec = study.parse_spec(TEXT.replace("BUDGETS", "3"))
    rec = [entry for entry in spec.networks if entry.family == "rec"]
    assert [dict(entry.parameters) for entry in rec] == [{"hidden": n, "steps": t} for n in (4, 8) for t in (3, 5)]
    assert [entry.label for entry in rec] == [f"rec, hidden {n}, steps {t}" for n in (4, 8) for t in (3, 5)]
    assert [entry.net for entry in rec] == [sl.Recurrent(1, n, 1, t) for n in (4, 8) for t in (3, 5)]
    assert {(entry.trials, entry.shared) for entry in rec} == {(17, ("B", "D"))}
    widths = [(3, 4, 2), (3, 4, 4, 2)]
    ff = [entry for entry in spec.networks if entry.family == "ff"]
    assert [entry.net for entry in ff] == [sl.Feedforward(w, 3, activation=a) for w in widths for a in ("linear", "relu")]
    assert ff[1].label == "ff, widths 3-4-2, activation relu" and ff[1].parameters == {"widths": (3, 4, 2), "activation": "relu"}
    assert (spec.networks[-1].label, spec.networks[-1].family, dict(spec.networks[-1].parameters)) == ("one", "one", {})


def test_a_swept_network_has_the_cells_of_one_that_is_written_out():
    alone = TEXT.replace("hidden = [4, 8]", "hidden = 8").replace('steps = "3..5 step 2"', "steps = 5").replace("BUDGETS", "[2, 3]")
    one = [cell.id for cell in study.cells_of(study.parse_spec(alone)) if cell.family == "rec"]
    swept = study.cells_of(study.parse_spec(TEXT.replace("BUDGETS", "[2, 3]")))
    same = [cell for cell in swept if cell.parameters == {"hidden": 8, "steps": 5}]
    assert [cell.id for cell in same] == one and [cell.budget for cell in same] == [2, 3]


def test_the_documented_sweep_is_valid():
    text = (Path(__file__).parent.parent / "docs" / "study.md").read_text(encoding="utf-8")
    toml = re.findall(r"```toml\n(.*?)```", text, re.S)[1]
    spec = study.parse_spec('study = { name = "x" }\n' + toml)
    assert len(spec.networks) == 9 and "recurrent, hidden 8, steps 6" in spec.strategies[0].networks
    assert {cell.budget for cell in study.cells_of(spec) if cell.parameters == {"hidden": 16, "steps": 5}} >= {128, 10}


def test_one_value_in_a_list_is_a_sweep_of_one():
    spec = study.parse_spec(TEXT.replace("[4, 8]", "[4]").replace("BUDGETS", "3"))
    assert spec.networks[0].parameters == {"hidden": 4, "steps": 3}


def test_strategies_take_labels_of_families_and_of_networks():
    def asked(networks):
        text = TEXT.replace('networks = ["rec"]', f"networks = {networks}").replace("BUDGETS", "3")
        return study.parse_spec(text).strategies[0].networks

    every = tuple(f"rec, hidden {n}, steps {t}" for n in (4, 8) for t in (3, 5))
    assert asked('["rec"]') == every == asked(f'["{every[1]}", "rec"]')
    assert asked(f'["{every[2]}"]') == (every[2],)


def test_relative_budgets_follow_the_network():
    ranks = {(n, t): kappa(n, t) for n in (4, 8) for t in (3, 5)}
    assert len(set(ranks.values())) > 1 and min(ranks.values()) > 1
    found = sizes('["kappa - 1 .. kappa + 1"]')
    assert found == {sizes: [rank - 1, rank, rank + 1] for sizes, rank in ranks.items()}
    assert sizes('["50%", "12.5%"]') == {(n, t): [n * n // 2, n * n // 8] for n in (4, 8) for t in (3, 5)}
    assert sizes('["kappa .. 100% step 3"]') == {(n, t): list(range(ranks[n, t], n * n + 1, 3)) for n in (4, 8) for t in (3, 5)}


def test_a_share_is_of_the_weights_that_may_learn():
    more = '\n[[strategy]]\nlabel = "all"\nkind = "scattered"\nnetworks = ["one"]\nbudgets = ["25%"]\n'
    spec = study.parse_spec(TEXT.replace("BUDGETS", "3") + more)
    assert [cell.budget for cell in study.cells_of(spec) if cell.family == "one"] == [5]  # of 12 + 8


def test_cells_are_made_once_for_a_study():
    spec = study.parse_spec(TEXT.replace("BUDGETS", "3"))
    cells = study.cells_of(spec)
    again = study.cells_of(spec)
    again.pop()
    assert cells[:-1] == again and study.cells_of(spec) == cells and study.cells_of(spec)[0] is cells[0]
    other = replace(spec, seed=5)
    assert study.cells_of(other)[0].seed == 5 != cells[0].seed and spec == study.parse_spec(spec.text)


def test_what_does_not_fit_is_left_out_and_what_coincides_is_one_cell():
    found = sizes('[3, "kappa - 40 .. kappa + 1 step 41", "100%"]')
    for (n, t), budgets in found.items():
        rank = kappa(n, t)
        assert budgets == list(dict.fromkeys([3, rank + 1, n * n]))


@pytest.mark.parametrize(
    "budgets, fragments",
    [
        ("[3, 17]", ["strategy[1] ('s').budgets", "network 'rec, hidden 4, steps 3'", "got 17", 'budgets such as "kappa"']),
        ('["kappa", 17]', ["network 'rec, hidden 4, steps 3'", "got 17"]),
        ('["kappa + 70"]', ["budgets", "fits a network", "got kappa + 70"]),
        ('"kapa"', ["budgets", '"kappa - 2 .. kappa + 4"', "'kapa'"]),
        ('["101%"]', ["budgets", "'101%'"]),
        ('"kappa + 1 .. kappa"', ["budgets", "'kappa + 1 .. kappa'"]),
        ('"kappa .. 100% step 0"', ["budgets", "step 0"]),
        ('"kappa .. 100% step 10%"', ["budgets", "step 10%"]),
        ('"10"', ["budgets", "got '10'"]),
    ],
)
def test_budgets_that_cannot_be_are_named(budgets, fragments):
    with pytest.raises(study.SpecError) as caught:
        sizes(budgets)
    for fragment in ("sizes.toml", "expected", *fragments):
        assert fragment in str(caught.value), str(caught.value)


@pytest.mark.parametrize(
    "old, new, fragments",
    [
        ("[4, 8]", "[4, 0]", ["network[1] ('rec') at hidden 0, steps 3", "hidden", "got 0"]),
        ("[4, 8]", "[]", ["network[1] ('rec').hidden", "a whole number, or several", "got []"]),
        ("[4, 8]", '"4..x"', ["network[1] ('rec').hidden", "'4..x'"]),
        ("[4, 8]", "[4.5]", ["network[1] ('rec').hidden", "[4.5]"]),
        ("[4, 8]", '["1..200", "300..400"]\ninputs = "1..99"', ["network[1] ('rec')", "at most 10000 networks", "got 59598"]),
        ('["linear", "relu"]', '["linear", "relo"]', ["network[2] ('ff') at widths 3-4-2, activation relo", "'relo'"]),
        ('["linear", "relu"]', "[]", ["network[2] ('ff').activation", "got []"]),
        ("[3, 4, 4, 2]]", '[3, "4"]]', ["network[2] ('ff').widths", "[[3, 4, 2], [3, '4']]"]),
        ('label = "one"', 'label = "rec"', ["network[3].label", "'rec'", "network[1]"]),
        ('label = "one"', 'label = "rec, hidden 4, steps 3"', ["network[3].label", "network[1]"]),
        ('networks = ["rec"]', 'networks = ["recc"]', ["networks", "'rec', 'ff', 'one'", "did you mean 'rec'"]),
        ('within = "W"', 'within = "B"', ["within", "network 'rec, hidden 4, steps 3'"]),
        ("samples = 3", 'samples = 3\nshared = ["W3"]', ["network[2] ('ff') at widths 3-4-2, activation linear.shared", "'W3'"]),
    ],
)
def test_networks_that_cannot_be_are_named(old, new, fragments):
    text = TEXT.replace("inputs = 1\n", "") if "inputs" in new else TEXT
    assert old in text
    with pytest.raises(study.SpecError) as caught:
        sizes("3", text=text.replace(old, new))
    for fragment in ("sizes.toml", "expected", *fragments):
        assert fragment in str(caught.value), str(caught.value)


def test_references_to_relative_budgets():
    def known(reference):
        text = TEXT.replace("BUDGETS", f'["kappa", "kappa + 1"]\nreference = [{{ {reference} }}]')
        return {(*cell.parameters.values(), cell.budget) for cell in study.cells_of(study.parse_spec(text)) if cell.reference}

    assert known('budget = "kappa+1", value = 0.5') == {(n, t, kappa(n, t) + 1) for n in (4, 8) for t in (3, 5)}
    rank = kappa(8, 5)
    assert known(f'budget = {rank}, value = 0.5, network = "rec, hidden 8, steps 5"') == {(8, 5, rank)}
    assert (8, 5, rank) in known(f'budget = {rank}, value = 0.5, network = "rec"')
    with pytest.raises(study.SpecError, match="reference: expected a budget that a network has, got 60"):
        known("budget = 60, value = 0.5")
    with pytest.raises(study.SpecError, match="reference.*network: expected one of the strategy's networks 'rec', got 'ff'"):
        known('budget = "kappa", value = 0.5, network = "ff"')


def test_budgets_are_written_in_one_way():
    assert budgets_in(["kappa-1", "kappa  +  2", "kappa + 0", " 12.50 %", "kappa..100%", "4..kappa step 02"]) == [
        "kappa - 1", "kappa + 2", "kappa", "12.5%", "kappa .. 100%", "4 .. kappa step 2",
    ]  # fmt: skip
    assert budgets_in("kappa - 1 .. kappa + 1") == ["kappa - 1", "kappa", "kappa + 1"]
    assert budgets_in("10% .. 35% step 12.5%") == ["10%", "22.5%", "35%"]
    assert numbers_in("37.5%", lambda: 0, 4) == [2] and numbers_in("12.4%", lambda: 0, 4) == []  # halves up; less than one weight


@pytest.mark.slow
def test_ten_thousand_cells_are_made_in_a_few_seconds():
    """Of one network, which was quadratic in its cells, and of many. 3 s of one core each when this was written."""
    many = TEXT.replace("[4, 8]", '"2..21"').replace('"3..5 step 2"', '"1..10"').replace("inputs = 1", "inputs = [1, 2]")
    many = many.replace("BUDGETS", '["kappa - 2 .. kappa + 24"]').replace("control = false", "control = true")
    one = TEXT.replace("[4, 8]", "100").replace('"3..5 step 2"', "10").replace("BUDGETS", '"10..10000"')
    for text in (many, one):
        spec = study.parse_spec(text)
        began = time.process_time()
        cells = study.cells_of(spec)
        assert len(cells) > 9000 and time.process_time() - began < 12
