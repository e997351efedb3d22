"""Studies: files, cells and ids, rows on disk, runs that stop and go on, plots and the report. Everything is
real but disks that fail.
"""

import io
import json
import re
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

import sublearn as sl
from sublearn import study
from sublearn.match.methods import RULES
from sublearn.match.probability import EXISTENCE
from sublearn.model import strategies
from sublearn.numerics.intervals import clopper_pearson
from sublearn.study import loop, plot, progress, reading, shards, strategy_entry
from sublearn.study.cells import Cell, content_id
from sublearn.study.items import Item, Work, block_size, shares
from sublearn.study.measure import measure
from sublearn.study.overlaps import that_count
from sublearn.study.plot import masks
from sublearn.study.report import findings, page, references, setting
from sublearn.study.spec import METHODS, StrategySpec
from sublearn.study.summary import Summary, summaries
from sublearn.study.sweep import cells_of
from tests.studies import NETWORK, start

ROOT = Path(__file__).resolve().parents[1]

SMALL = """
[study]
name = "small"
trials = 60
starts = 3
seed = 7
chunk = 25

[[network]]
label = "rec"
kind = "recurrent"
inputs = 2
hidden = 4
outputs = 2
steps = 4
shared = ["B", "D"]

[[network]]
label = "ff"
kind = "feedforward"
widths = [3, 4, 2]
samples = 3
trials = 30

[[strategy]]
label = "scattered"
kind = "scattered"
within = "W"
budgets = "6..8"
networks = ["rec"]
reference = [{ budget = 7, value = 0.999, trials = 1000 },
{ budget = 6, starts = 1, value = 0.1, trials = 50, note = "made up" }]

[[strategy]]
label = "rows"
kind = "rows"
within = "W"
budgets = [6, 7, 8]
networks = ["rec"]

[[strategy]]
label = "split"
kind = "split"
within = ["W1", "W2"]
totals = [6]
networks = ["ff"]
"""


def parse(text=SMALL, **changes):
    """The small study with some of its lines changed: parse(trials="70")."""
    for key, value in changes.items():
        text = re.sub(rf"(?m)^{key} = .*$", f"{key} = {value}", text, count=1)
    return study.parse_spec(text, "small.toml")


@pytest.fixture(scope="module", autouse=True)
def _few_figures():
    """Drawing takes its time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sublearn.study.report.figures.MOST_FIGURES", 5)
        yield


@pytest.fixture(scope="module")
def finished(tmp_path_factory, figures_drawn):
    """(spec, folder) of the small study, run to its end and reported."""
    folder = tmp_path_factory.mktemp("done") / "sublearn-small"
    spec = parse()
    outcome = study.run(spec, folder)
    assert outcome.complete and not outcome.problems
    with figures_drawn():
        study.write_report(folder)
    return spec, folder


# The file


def test_the_documented_file_holds_every_key_and_is_valid():
    text = (ROOT / "docs" / "study.md").read_text(encoding="utf-8")
    toml = re.search(r"```toml\n(.*?)```", text, re.S).group(1)
    for key in {*reading.STUDY_KEYS, *reading.NETWORK_KEYS, *strategy_entry.STRATEGY_KEYS, *strategy_entry.REFERENCE_KEYS}:
        assert re.search(rf"\b{key} = |\[\[?{key}", toml), key
    for kind in strategy_entry.FILE_KINDS:
        assert f"`{kind}`" in text, kind
    for method in METHODS:
        assert f'"{method}"' in toml, method
    spec = study.parse_spec(toml, "docs/study.md")
    assert len(cells_of(spec)) > 20
    bare = study.parse_spec(
        '[study]\nname = "x"\n[[network]]\nkind = "feedforward"\nwidths = [2, 2]\nsamples = 1\n[[strategy]]\nkind = "everything"'
    )
    for key in (
        "seed",
        "trials",
        "methods",
        "starts",
        "tol",
        "iterations",
        "steps",
        "optimizer",
        "lr",
        "screen",
        "control",
        "compare",
        "chunk",
    ):
        if key != "methods":
            assert getattr(spec, key) == getattr(bare, key), f"the default shown for {key}"


@pytest.mark.parametrize("path", sorted((ROOT / "examples").glob("*.toml")), ids=lambda path: path.stem)
def test_examples_are_valid(path):
    spec = study.read_spec(path)
    cells = cells_of(spec)
    matches = [cell for cell in cells if cell.quantity is None]
    assert spec.description and all(cell.trials >= 1000 for cell in matches) and not spec.screen
    assert not matches or any(cell.reference for cell in matches)


def test_the_built_in_study_covers_the_three_kinds_of_network():
    spec = study.default_spec()
    nets = [entry.net for entry in spec.networks]
    assert [type(net).__name__ for net in nets] == ["Recurrent", "Feedforward", "Feedforward"]
    assert [net.activation for net in nets] == ["linear", "linear", "relu"]
    assert {cell.method for cell in cells_of(spec)} == {"newton", "descent"}


def strategy(text):
    return SMALL.split("[[strategy]]")[0] + "[[strategy]]\n" + text


BAD = {
    "no toml": ("[study", ["expected TOML"]),
    "no study": ("[[network]]", ["study", "a table [study]"]),
    "no name": (SMALL.replace('name = "small"', ""), ["study.name", "expected a name", "got nothing"]),
    "bad name": (SMALL.replace('"small"', '"a/b"'), ["study.name", "'a/b'"]),
    "unknown key": (
        SMALL.replace("trials = 60", "trails = 60"),
        ["study.trails", "unknown key 'trails'", "did you mean 'trials'"],
    ),
    "unknown table": (SMALL + "\n[other]\n", ["other", "expected one of the keys study, network, strategy"]),
    "zero trials": (SMALL.replace("trials = 60", "trials = 0"), ["study.trials", "from 1", "got 0"]),
    "trials as text": (SMALL.replace("trials = 60", 'trials = "60"'), ["study.trials", "'60'"]),
    "true trials": (SMALL.replace("trials = 60", "trials = true"), ["study.trials", "True"]),
    "seed": (SMALL.replace("seed = 7", "seed = -1"), ["study.seed", "2^64 - 1", "-1"]),
    "method": (
        SMALL.replace("seed = 7", 'method = "nweton"'),
        ["study.method", "newton, descent", "'nweton'", "did you mean 'newton'"],
    ),
    "method twice": (
        SMALL.replace("seed = 7", 'method = ["newton", "newton"]'),
        ["study.method", "each method once"],
    ),
    "tol": (SMALL.replace("seed = 7", "tol = 2"), ["study.tol", "between 0 and 1", "got 2"]),
    "tol of a method": (
        SMALL.replace("seed = 7", "tol = { sgd = 0.1 }"),
        ["study.tol.sgd", "newton, descent"],
    ),
    "screen": (SMALL.replace("seed = 7", "screen = 1"), ["study.screen", "true or false", "got 1"]),
    "newton": (SMALL.replace("seed = 7", "newton = 3"), ["study.newton", "a table [study.newton]", "got 3"]),
    "newton key": (SMALL.replace("seed = 7", "newton = { steps = 3 }"), ["study.newton.steps", "iterations"]),
    "optimizer": (
        SMALL.replace("seed = 7", 'descent = { optimizer = "adma" }'),
        ["study.descent.optimizer", "did you mean 'adam'"],
    ),
    "lr": (
        SMALL.replace("seed = 7", "descent = { lr = 0.0 }"),
        ["study.descent.lr", "a positive number", "0.0"],
    ),
    "lr nan": (SMALL.replace("seed = 7", "descent = { lr = nan }"), ["study.descent.lr", "nan"]),
    "chunk": (SMALL.replace("chunk = 25", "chunk = 0"), ["study.chunk", "got 0"]),
    "no network": ('[study]\nname = "x"', ["network", "at least one table [[network]]", "got nothing"]),
    "network as table": ('[study]\nname = "x"\n[network]\nkind = "recurrent"', ["network", "[[network]]"]),
    "network kind": (
        SMALL.replace('"recurrent"', '"recurent"'),
        ["network[1] ('rec')", "recurrent, feedforward", "'recurent'"],
    ),
    "missing size": (SMALL.replace("hidden = 4\n", ""), ["network[1] ('rec')", "missing hidden"]),
    "wrong size": (
        SMALL.replace("hidden = 4", "widths = [4, 2]\nhidden = 4"),
        ["network[1] ('rec')", "unknown widths"],
    ),
    "size of zero": (SMALL.replace("hidden = 4", "hidden = 0"), ["network[1] ('rec')", "hidden", "got 0"]),
    "activation": (
        SMALL.replace("hidden = 4", 'hidden = 4\nactivation = "gelu"'),
        ["network[1] ('rec')", "activation", "'gelu'"],
    ),
    "same label": (SMALL.replace('"ff"', '"rec"'), ["network[2].label", "'rec'", "network[1]"]),
    "unknown shared": (
        SMALL.replace('["B", "D"]', '["B", "Q"]'),
        ["network[1] ('rec').shared", "B, W, D", "'Q'"],
    ),
    "all shared": (SMALL.replace('["B", "D"]', '["B", "D", "W"]'), ["shared", "not shared"]),
    "gain": (
        SMALL.replace("steps = 4", "steps = 4\ngains = { W = 0 }"),
        ["gains.W", "a positive number", "got 0"],
    ),
    "gain of nothing": (SMALL.replace("steps = 4", "steps = 4\ngains = { Q = 1 }"), ["gains.Q", "B, W, D"]),
    "no strategy": (SMALL.split("[[strategy]]")[0], ["strategy", "at least one table [[strategy]]"]),
    "strategy kind": (
        strategy('kind = "scatterd"\nwithin = "W"'),
        ["strategy[1].kind", "did you mean 'scattered'"],
    ),
    "no kind": (strategy('within = "W"'), ["strategy[1].kind", "got nothing"]),
    "no within": (strategy('kind = "rows"\nbudgets = 3'), ["strategy[1].within", "rows needs it"]),
    "group of another network": (
        strategy('kind = "rows"\nwithin = "W"\nbudgets = 3'),
        ["strategy[1].within", "network 'ff' (W1, W2)", "restrict the strategy with networks"],
    ),
    "shared group": (
        strategy('kind = "rows"\nwithin = "B"\nbudgets = 3\nnetworks = ["rec"]'),
        ["within", "does not share", "'B'"],
    ),
    "group twice": (
        strategy('kind = "scattered"\nwithin = ["W", "W"]\nbudgets = 3\nnetworks = ["rec"]'),
        ["within", "each group once"],
    ),
    "unknown network": (
        strategy('kind = "rows"\nwithin = "W"\nbudgets = 3\nnetworks = ["recc"]'),
        ["networks", "'recc'", "did you mean 'rec'"],
    ),
    "no networks": (strategy('kind = "everything"\nnetworks = []'), ["networks", "at least one"]),
    "no budgets": (strategy('kind = "scattered"'), ["strategy[1].budgets", "scattered needs it"]),
    "budget as float": (strategy('kind = "scattered"\nbudgets = [3.5]'), ["budgets", "[3.5]"]),
    "empty range": (strategy('kind = "scattered"\nbudgets = "9..8"'), ["budgets", "'9..8'"]),
    "step of zero": (strategy('kind = "scattered"\nbudgets = "8..9 step 0"'), ["budgets", "step"]),
    "budget too large": (
        strategy('kind = "scattered"\nwithin = "W"\nbudgets = [3, 17]\nnetworks = ["rec"]'),
        ["strategy[1].budgets", "network 'rec'", "from 0 to 16", "got 17"],
    ),
    "budget of zero": (
        strategy('kind = "scattered"\nbudgets = 0'),
        ["strategy[1].budgets", "at least one learnable weight"],
    ),
    "budgets of everything": (
        strategy('kind = "everything"\nbudgets = 3'),
        ["budgets", "no such key for everything"],
    ),
    "totals of rows": (
        strategy('kind = "rows"\nwithin = "W"\ntotals = 3\nnetworks = ["rec"]'),
        ["totals", "no such key for rows"],
    ),
    "totals too large": (
        strategy('kind = "split"\nwithin = ["W1", "W2"]\ntotals = 21\nnetworks = ["ff"]'),
        ["totals", "at most 20"],
    ),
    "split of the wrong length": (
        strategy('kind = "split"\nwithin = ["W1", "W2"]\nbudgets = [[3]]\nnetworks = ["ff"]'),
        ["budgets", "[3]"],
    ),
    "split over another group": (
        strategy('kind = "split"\nwithin = ["W1"]\nbudgets = [{ W2 = 3 }]\nnetworks = ["ff"]'),
        ["budgets", "W2"],
    ),
    "per_row": (
        strategy('kind = "per_row"\nwithin = "W"\nbudgets = [3]\nnetworks = ["rec"]'),
        ["budgets", "{ rows = 2, each = 2 }", "got 3"],
    ),
    "per_row too many": (
        strategy('kind = "per_row"\nwithin = "W"\nbudgets = [{ rows = 5, each = 1 }]\nnetworks = ["rec"]'),
        ["strategy[1].budgets", "rows", "got 5"],
    ),
    "block": (
        strategy('kind = "block"\nwithin = "W"\nbudgets = [[5, 1]]\nnetworks = ["rec"]'),
        ["strategy[1].budgets", "got 5"],
    ),
    "edges": (
        strategy('kind = "edges"\nedges = [["W", 9, 9]]\nnetworks = ["rec"]'),
        ["strategy[1].edges", "got 9"],
    ),
    "edge without a place": (
        strategy('kind = "edges"\nedges = [["W"]]\nnetworks = ["rec"]'),
        ["edges", "['W']"],
    ),
    "same question": (
        SMALL + '\n[[strategy]]\nlabel = "again"\nkind = "rows"\nwithin = "W"\nbudgets = 7\nnetworks = ["rec"]\n',
        ["strategy 'again'", "a question of its own", "'rows'"],
    ),
    "same strategy label": (
        SMALL + '\n[[strategy]]\nlabel = "rows"\nkind = "rows"\nwithin = "W"\nbudgets = 9\nnetworks = ["rec"]\n',
        ["strategy[4].label", "strategy[2]"],
    ),
    "reference value": (
        SMALL.replace("value = 0.999", "value = 1.5"),
        ["strategy[1] ('scattered').reference[1].value", "1.5"],
    ),
    "reference budget": (
        SMALL.replace("budget = 7, value", "budget = 70, value"),
        ["reference[1].budget", "one of the strategy's budgets", "70"],
    ),
    "reference starts": (
        SMALL.replace("starts = 1, value", "starts = 4, value"),
        ["reference", "starts <= 3", "got 4"],
    ),
    "reference key": (
        SMALL.replace("value = 0.999", "values = 0.999"),
        ["reference[1].values", "did you mean 'value'"],
    ),
    "reference network": (
        SMALL.replace("value = 0.999", 'value = 0.9, network = "ff"'),
        ["reference[1].network", "'rec'", "'ff'"],
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_name_file_key_expected_and_got(name):
    text, fragments = BAD[name]
    with pytest.raises(study.SpecError) as caught:
        cells_of(study.parse_spec(text, "bad.toml"))
    message = str(caught.value)
    assert message.startswith("bad.toml: ")
    for fragment in [*fragments, "expected" if "size" not in name else "network"]:
        assert fragment in message, message


def test_unreadable_files_are_named(tmp_path):
    for path, fragment in ((tmp_path / "none.toml", "no such file"), (tmp_path, "a folder")):
        with pytest.raises(study.SpecError, match=fragment):
            study.read_spec(path)
    (tmp_path / "latin.toml").write_bytes(b'[study]\nname = "\xe9"')
    with pytest.raises(study.SpecError, match="UTF-8 text, got byte 0xe9"):
        study.read_spec(tmp_path / "latin.toml")


def test_a_byte_order_mark_is_no_part_of_a_study(tmp_path):
    (tmp_path / "s.toml").write_bytes(b"\xef\xbb\xbf" + SMALL.encode())
    spec = study.read_spec(tmp_path / "s.toml")
    assert spec.name == "small" and spec.text == SMALL
    study.Store(tmp_path / "s").save_spec(spec)
    text = (tmp_path / "s" / "spec.toml").read_bytes()
    (tmp_path / "s" / "spec.toml").write_bytes(b"\xef\xbb\xbf" + text)
    assert study.Store(tmp_path / "s").spec().name == "small"


@pytest.mark.parametrize(
    "key, value",
    [
        ("trials", "1" * 5000),
        ("trials", "0x" + "f" * 5000),
        ("trials", "[" * 5000 + "]" * 5000),
        ("seed", "7\ntol = 1" + "0" * 400),
        ("seed", "7\ndescent = { lr = 1" + "0" * 400 + " }"),
        ("steps", "4\ngains = { W = 1" + "0" * 400 + " }"),
    ],
)
def test_numbers_without_bounds_are_spec_errors(key, value):
    with pytest.raises(study.SpecError, match="small.toml: "):
        parse(**{key: value})


def test_budgets_may_be_numbers_ranges_and_tables():
    def arguments(text):
        return list(study.parse_spec(strategy(text)).strategies[0].arguments)

    assert arguments('kind = "scattered"\nbudgets = 3') == [{"budget": 3}]
    assert [a["budget"] for a in arguments('kind = "scattered"\nbudgets = [2, "4..6", 5, "8..14 step 3"]')] == [2, 4, 5, 6, 8, 11, 14]
    assert arguments('kind = "per_column"\nwithin = "W"\nnetworks = ["rec"]\nbudgets = [{ columns = 2, each = 3 }]') == [
        {"columns": 2, "each": 3}
    ]
    assert arguments('kind = "block"\nwithin = "W"\nnetworks = ["rec"]\nbudgets = [[2, 3], { shape = [1, 4] }]') == [
        {"shape": [2, 3]},
        {"shape": [1, 4]},
    ]
    assert arguments('kind = "split"\nwithin = ["W1", "W2"]\nnetworks = ["ff"]\nbudgets = [[1, 2], { W2 = 3 }]') == [
        {"W1": 1, "W2": 2},
        {"W1": 0, "W2": 3},
    ]
    assert len(arguments('kind = "split"\nwithin = ["W1", "W2"]\nnetworks = ["ff"]\ntotals = [10]')) == 9  # W2 holds at most 8
    assert arguments('kind = "only"\nwithin = "W"\nnetworks = ["rec"]') == [{}]


# Cells and tasks


def test_the_id_is_of_the_content_only():
    cells = cells_of(parse(control="true"))
    same = cells_of(
        study.parse_spec(
            SMALL.replace('label = "rec"', 'label = "renamed"')
            .replace('["rec"]', '["renamed"]')
            .replace("trials = 60", "trials = 999")
            .replace("chunk = 25", "chunk = 3\ncompare = 5")
            .replace('label = "scattered"\n', 'label = "new name"\n'),
            "other.toml",
        )
    )
    assert [cell.id for cell in same] == [cell.id for cell in cells]
    for text in (
        SMALL.replace("seed = 7", "seed = 8"),
        SMALL.replace("starts = 3", "starts = 4"),
        SMALL.replace("seed = 7", "seed = 7\nscreen = true"),
        SMALL.replace("seed = 7", "seed = 7\ntol = 1e-18"),
        SMALL.replace("steps = 4", "steps = 4\ngains = { B = 2 }"),
        SMALL.replace("seed = 7", "seed = 7\nnewton = { iterations = 100 }"),
        SMALL.replace("steps = 4", "steps = 5"),
    ):
        other = {cell.id for cell in cells_of(study.parse_spec(text)) if cell.network_label == "rec"}
        assert not other & {cell.id for cell in cells}, text
    assert len({cell.id for cell in cells}) == len(cells)
    assert re.fullmatch(r"[0-9a-f]{16}", cells[0].id)
    # what a method does not use is not part of its content
    descent = [cells_of(parse(method='"descent"', seed='7\nmethod = "descent"', starts=starts))[0] for starts in ("3", "9")]
    assert descent[0].method == "descent" and descent[0].id == descent[1].id
    # a gain of 1 is no gain, and a default written out is the default
    plain = cells_of(
        study.parse_spec(
            SMALL.replace("steps = 4", "steps = 4\ngains = { B = 1 }\nbias = false")
            .replace("seed = 7", "seed = 7\ntol = 1e-20")
            .replace("tol = 1e-20", "tol = { newton = 1e-20 }")
        )
    )
    assert [cell.id for cell in plain] == [cell.id for cell in cells]


GOLDEN = """
rec / scattered / 6 / newton 5d84fafc904c1dbd 3536024477
rec / scattered / 7 / newton 1459024b501bfbcf 3536024477
rec / rows / 8 / newton 865c03ad004150b0 3536024477
rec / rows / 5 / newton e3ef93c3f6c342de 3536024477
ff / split / W1 3 + W2 3 / newton e3d09ea38437742d 4239216697
ff / control: scattered in W1 + W2 / 5 / newton 9ab8badd7bab0e42 4239216697
rec / scattered / 4 / exact a78d7116bd000cd6 2077107841
rec / rows / 4 / newton 1284dfb726a73798 2077107841
rec / rows / 4 / exact 961c6170306fe5f2 2077107841
ff / split / W1 0 + W2 6 / exact 0323430bace9938c 4239216697
"""


def test_ids_and_task_numbers_of_ten_cells_stay():
    """Rows on other people's disks are found by these: a change of rules or labels must not change them."""
    cells = [*cells_of(parse()), *cells_of(study.parse_spec(BOTH))]
    told = [f"{cell.describe()} {cell.id} {cell.task_number}" for cell in cells]
    assert len(GOLDEN.split("\n")[1:-1]) == 10 and set(GOLDEN.split("\n")[1:-1]) <= set(told)


def test_strategies_and_methods_of_a_network_meet_the_same_trials():
    spec = parse(seed='7\nmethod = ["newton", "descent"]')
    numbers = {}
    for cell in cells_of(spec):
        numbers.setdefault(cell.network_label, set()).add(cell.task_number)
    assert all(len(found) == 1 for found in numbers.values())
    assert numbers["rec"] != numbers["ff"]
    assert cells_of(parse(SMALL.replace('shared = ["B", "D"]', 'shared = ["B"]')))[0].task_number not in numbers["rec"]


def drained(cells, done, most, asked=None):
    """All items in their order."""
    work, items = Work(cells, done, asked), []
    while work.next_cell() is not None:
        items.append(work.take(most, 0))
    return items


def is_dyadic(first, count):
    return count & (count - 1) == 0 and first % count == 0


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(1, 20)), max_size=6),
    st.integers(1, 70),
    st.integers(1, 40),
)
@settings(deadline=None)
def test_what_is_missing_is_run_once_in_dyadic_blocks(done, trials, most):
    cell = Cell({"any": 1}, "n", "s", trials)
    covered = np.zeros(200, dtype=int)
    for first, count in done:
        covered[first : first + count] = 1
    for entry in drained([cell], {cell.id: done}, most):
        assert 1 <= entry.count <= most and is_dyadic(entry.first, entry.count)
        covered[entry.first : entry.first + entry.count] += 1
    assert (covered[:trials] == 1).all()


def test_blocks_are_as_large_as_they_may_be():
    assert [block_size(*case) for case in ((0, 100, 2**20), (64, 36, 2**20), (96, 4, 9), (6, 90, 90), (0, 100, 25))] == [64, 32, 4, 2, 16]


def test_first_blocks_of_all_cells_come_first():
    cells = cells_of(parse())
    items = drained(cells, {}, 25)
    assert [entry.cell.id for entry in items[: len(cells)]] == [cell.id for cell in cells]
    assert [entry.first for entry in items[: len(cells)]] == [0] * len(cells)


@given(st.integers(1, 9), st.integers(1, 400), st.integers(1, 12))
@example(7, 224, 12)  # as many strips of each cell as cells: dealt by the cell's number they met in one shard
@settings(deadline=None)
def test_shards_have_every_trial_once_and_share_the_work(number, trials, shards):
    cells = [Cell({"any": place}, "n", "s", trials) for place in range(number)]
    covered = {cell.id: np.zeros(trials, dtype=int) for cell in cells}
    sizes = []
    for place in range(shards):
        items = drained(cells, {}, 2**20, shares(cells, (place, shards)))
        sizes.append(sum(entry.count for entry in items))
        for entry in items:
            assert is_dyadic(entry.first, entry.count)
            covered[entry.cell.id][entry.first : entry.first + entry.count] += 1
    assert all((counts == 1).all() for counts in covered.values())
    assert max(sizes) <= 1.5 * number * trials / shards + 2 * number


def test_trials_that_another_run_measured_are_not_handed_out_again():
    cell = Cell({"any": 1}, "n", "s", 100)
    work = Work([cell], {cell.id: [(0, 16)]})
    assert work.remove(cell.id, (0, 32)) == [(16, 16)] and work.remove(cell.id, (0, 32)) == [] and work.remove("other", (0, 4)) == []
    assert work.remove(cell.id, (64, 32)) == [(64, 32)]
    items = [work.take(64, 0), work.take(64, 0)]
    assert [(entry.first, entry.count) for entry in items] == [(32, 32), (96, 4)] and work.next_cell() is None


def test_controls_are_added_where_the_sweep_has_none():
    text = (
        SMALL.replace('"6..8"', '"7..8"')
        .replace("[6, 7, 8]", "[7]")
        .replace('{ budget = 6, starts = 1, value = 0.1, trials = 50, note = "made up" }', "")
    )
    cells = cells_of(study.parse_spec(text))
    net = next(cell.net for cell in cells if cell.network_label == "rec")
    from sublearn.ranks.generic_rank import required_rank

    kappa = required_rank(net, ("B", "D"))
    controls = [cell for cell in cells if cell.control]
    assert kappa == 6 and all(cell.budget == kappa - 1 for cell in controls)
    assert {cell.strategy_label for cell in controls if cell.network_label == "rec"} == {"scattered", "rows"}
    split = [cell for cell in controls if cell.network_label == "ff"]
    assert all(cell.content["strategy"]["kind"] == "scattered" and "control" in cell.strategy_label for cell in split)
    assert {tuple(np.atleast_1d(cell.content["strategy"]["within"])) for cell in split} == {
        ("W1",),
        ("W2",),
        ("W1", "W2"),
    }
    assert not any(cell.control for cell in cells_of(study.parse_spec(text.replace("seed = 7", "control = false"))))
    low = study.parse_spec(strategy('kind = "scattered"\nwithin = "W"\nbudgets = [2, 3]\nnetworks = ["rec"]'))
    assert not any(cell.control for cell in cells_of(low))
    has = study.parse_spec(strategy('kind = "scattered"\nwithin = "W"\nbudgets = [5, 6]\nnetworks = ["rec"]'))
    assert not any(cell.control for cell in cells_of(has))


# Rows on disk


# a cell that no study here asks for
CONTENT = cells_of(parse(seed="8"))[0].content


def row(first=0, count=4, matched=1, unmatched=1, undecided=2, **other):
    return {
        "format": 1,
        "rules": RULES["newton"],
        "cell": content_id(other.get("content", CONTENT)),
        "first": first,
        "count": count,
        "matched": matched,
        "unmatched": unmatched,
        "undecided": undecided,
        "screened": 0,
        "solved_affine": 0,
        "certified": 0,
        "by_theorem": 0,
        "quantity": "found",
        "found_after": [1],
        "content": CONTENT,
        "labels": {"network": "n", "strategy": "s", "size": "6"},
        "compared": {"minimal": [1, 0]},
        "required_rank": 6,
        "seconds": 0.5,
        "seconds_theory": 0.25,
        "threads": None,
        "isa": "avx2",
        "version": "0.1.0",
        **other,
    }


ASKED = Cell(CONTENT, "n", "s", 60)


def new_row(**values):
    """As `measure` makes it: the folder knows the rest of the cell."""
    return {key: value for key, value in row(**values).items() if key not in ("format", "content", "labels")}


def without(*keys):
    return {key: value for key, value in row().items() if key not in keys}


def write(folder, *lines):
    folder.mkdir(exist_ok=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (folder / "results.jsonl").write_text(text, encoding="ascii")
    return folder


def test_a_torn_last_line_is_reported_ignored_and_cut(tmp_path):
    folder = write(tmp_path / "s", row(), row(first=4))
    path = folder / "results.jsonl"
    whole = path.read_bytes()
    for cut in (1, 20, len(whole) // 2 - 1):
        path.write_bytes(whole[:-cut])
        opened = study.Store(folder)
        assert len(opened.rows) == 1 and "torn last line" in opened.note and str(path) in opened.note
        assert path.read_bytes() == whole[:-cut]  # reading changes nothing
        with opened:
            opened.open_for_writing()
            opened.append(new_row(first=4), ASKED)
        again = study.Store(folder)
        assert len(again.rows) == 2 and not again.note
        for file in (folder / "rows").iterdir():
            data = file.read_bytes()
            file.write_bytes(data[:-20])
            torn = study.Store(folder)
            assert len(torn.rows) == 1 and str(file) in torn.note and "torn last line" in torn.note
            file.unlink()


@pytest.mark.parametrize(
    "line, fragment",
    [
        ("{", "a JSON object"),
        ("[]", "a JSON object"),
        ("\x00\x01", "a JSON object"),
        ("[" * 100_000, "a JSON object"),
        (row(format=3), "expected format 1 or 2, got 3"),
        (row(format=True), "expected format 1 or 2, got True"),
        ({}, "a row of a cell that a line before describes"),
        ({**new_row(), "cell": "b" * 16}, "a row of a cell that a line before describes"),
        ({**new_row(), "quantity": "sharpness"}, "read it with the version of sublearn that wrote it"),
        ({**new_row(), "count": 5}, "matched + unmatched + undecided = count"),
        (
            {"cell": content_id(CONTENT), "first": 0, "count": -1, "error": 3},
            "one with a wrong or missing count, error",
        ),
        ({"cell": "a" * 16, "content": CONTENT, "labels": row()["labels"]}, "the id of its content"),
        ({"cell": content_id(CONTENT), "content": CONTENT, "labels": {}}, "a cell, got one with a wrong or missing labels"),
        (row(matched=2), "matched + unmatched + undecided = count"),
        (row(count=-4), "wrong or missing count"),
        (row(count=0, matched=0, unmatched=0, undecided=0), "= count > 0"),
        (row(first=2**32 - 2), "first + count <= 4294967296"),
        (row(cell=3), "wrong or missing cell"),
        (row(cell="a" * 16), "the id of its content"),
        (row(content={**CONTENT, "seed": 9}, cell=content_id(CONTENT)), "the id of its content"),
        (row(content={**CONTENT, "more": 1}), "wrong or missing content"),
        (row(content={"any": 1}), "wrong or missing content"),
        (row(content={**CONTENT, "method": "magic"}), "method out of newton, descent, exact"),
        (row(content={**CONTENT, "method": ["newton"]}), "method out of newton, descent, exact"),
        (row(content={**CONTENT, "options": 3}), "with its options"),
        (json.dumps(row()).replace('"tol": 1e-20', '"tol": 1e999'), "the id of its content"),
        (row(found_after=[5]), "found_after"),
        (row(found_after=[2]), "found_after that rises from 0 or more to matched = 1 or less"),
        (row(found_after=[1, 0]), "found_after that rises"),
        (row(found_after=[-1, 0]), "found_after that rises"),
        (row(found_after=["x"]), "found_after"),
        (row(found_after=[0, 0, 1, 1]), "found_after of at most 3 starts"),
        (row(found_after={}), "wrong or missing found_after"),
        (row(compared={"minimal": [1, 2]}), "compared"),
        (row(compared={"minimal": [3, 0], "maximal": [2, 0]}), "compared with at most 4 trials"),
        (row(compared={"minimal": [1, 1], "maximal": [1, 1]}), "1 of them matched"),
        (row(compared={"some": [1, 0]}), "compared"),
        (row(matched=True), "matched"),
        (row(screened=3, solved_affine=2), "screened + solved_affine <= count"),
        (row(quantity="probable"), "a quantity out of found, existence, loss, accuracy, rmse, valid_time, got 'probable'"),
        (row(quantity=["found"]), "wrong or missing quantity"),
        (row(required_rank=-1), "wrong or missing required_rank"),
        (row(required_rank=6.0), "wrong or missing required_rank"),
        (row(seconds="1"), "wrong or missing seconds"),
        (row(seconds=-1.0), "wrong or missing seconds"),
        (row(seconds=float("nan")), "wrong or missing seconds"),
        (row(seconds=10**400), "wrong or missing seconds"),
        (row(seconds_theory=float("inf")), "wrong or missing seconds_theory"),
        (row(isa=None), "wrong or missing isa"),
        (row(version=1), "wrong or missing version"),
        (row(isa="\ud800"), "wrong or missing isa"),
        (row(labels={}), "wrong or missing labels"),
        (row(labels={"network": 1, "strategy": "s", "size": "6"}), "wrong or missing labels"),
        (row(rules=0), "expected rules 1 to"),
        (row(rules=99), "read it with the version of sublearn that wrote it"),
        (row(rules="2"), "wrong or missing rules"),
        (without("content"), "content"),
        (without("seconds", "version"), "seconds, version"),
    ],
)
def test_damaged_lines_name_the_line(tmp_path, line, fragment):
    folder = write(tmp_path / "s", row(), line, row(first=8))
    with pytest.raises(study.StoreError) as caught:
        study.Store(folder)
    assert "results.jsonl: line 2: " in str(caught.value) and fragment in str(caught.value)


def test_of_rows_that_share_trials_the_largest_counts(tmp_path):
    """Nested blocks, a range of an earlier version across two of them, and other counts of the same block."""
    firsts = [12, 0, 8, 4, 20, 16]
    assert len(study.Store(write(tmp_path / "s", *(row(first=first) for first in firsts))).rows) == 6
    whole = row(count=16, undecided=14)
    for rows in ([row(), whole, row(first=12)], [whole, row(first=4)], [row(first=14), whole]):
        opened = study.Store(write(tmp_path / "s", *rows))
        assert [(entry["first"], entry["count"]) for entry in opened.rows] == [(0, 16)]
        assert f"{len(rows) - 1} row" in opened.note and "that larger rows count, counted once" in opened.note
    other = study.Store(write(tmp_path / "s", row(), row(first=4), row(matched=2, unmatched=0)))
    assert [entry["matched"] for entry in other.rows] == [1, 1] and "line 3: other counts of trials that a row before counts" in other.note


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 31)), max_size=40))
@settings(deadline=None)
def test_dyadic_rows_that_count_cover_all_trials_once(blocks):
    ranges = [(k << j, (k + 1) << j) for j, k in blocks]
    counted = [ranges[place] for place in that_count(ranges)]
    everything, once = np.zeros(2000, dtype=int), np.zeros(2000, dtype=int)
    for first, end in ranges:
        everything[first:end] = 1
    for first, end in counted:
        once[first:end] += 1
    assert (once == everything).all()


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(1, 9)), max_size=12, unique=True), st.randoms())
@settings(deadline=None)
def test_which_rows_count_does_not_depend_on_their_order(blocks, random):
    ranges = [(first, first + count) for first, count in blocks]
    mixed = random.sample(ranges, len(ranges))
    assert {ranges[place] for place in that_count(ranges)} == {mixed[place] for place in that_count(mixed)}


def test_a_row_that_repeats_another_is_counted_once_with_a_note(tmp_path):
    again = row(first=4, seconds=7.0, threads=3, isa="avx512", version="0.2", labels={"network": "m", "strategy": "t", "size": "6"})
    opened = study.Store(write(tmp_path / "s", row(), row(first=4), row(), "", again))
    assert [entry["first"] for entry in opened.rows] == [0, 4] and opened.rows[1]["seconds"] == 0.5
    assert opened.note == f"{opened.path}: line 3 and 1 more: repeats another row, counted once"
    assert opened.done() == {row()["cell"]: [(0, 4), (4, 4)]}
    assert study.Store(write(tmp_path / "s", row(), row())).note.endswith("line 2: repeats another row, counted once")


def test_reading_takes_time_linear_in_the_rows(tmp_path):
    seconds = {}
    for count in (1000, 8000):
        order = np.random.default_rng(0).permutation(count).tolist()
        write(tmp_path / "s", *(row(first=4 * place) for place in order))
        began = time.process_time()
        assert len(study.Store(tmp_path / "s").rows) == count
        seconds[count] = time.process_time() - began
    assert seconds[8000] < 24 * seconds[1000]  # eight times the rows; the square would be 64


# Several writers


def test_runs_in_one_folder_read_what_the_others_write(tmp_path):
    late = study.Store(write(tmp_path / "s", row()))
    with study.Store(tmp_path / "s") as other, late:
        for opened in (other, late):
            opened.open_for_writing()
        other.append(new_row(first=4), ASKED)
        assert [entry["first"] for entry in late.refresh()] == [4] and late.refresh() == []
        late.append(new_row(first=4), ASKED)  # both were at it
        late.append(new_row(first=8), ASKED)
        assert [entry["first"] for entry in other.refresh()] == [8] and late.others_at_work()
    assert [entry["first"] for entry in study.Store(tmp_path / "s").rows] == [0, 4, 8]
    assert len(list((tmp_path / "s" / "rows").iterdir())) == 2
    lines = (tmp_path / "s" / "results.jsonl").read_text().splitlines()
    assert lines[1:] == ['{"format":2}'] and json.loads(lines[0]) == row()  # earlier versions refuse it


def test_a_run_plans_from_what_another_has_written_since(tmp_path, monkeypatch):
    spec, folder = parse(control="false"), tmp_path / "s"
    real = study.Store.open_for_writing

    def late(self):
        monkeypatch.undo()
        assert study.run(spec, folder).complete  # another run, between reading and writing
        real(self)

    monkeypatch.setattr(study.Store, "open_for_writing", late)
    outcome = study.run(spec, folder)
    assert outcome.complete and outcome.rows == 0
    found = summaries(cells_of(spec), study.Store(folder).rows)
    assert all(summary.trials == summary.cell.trials for summary in found)


@pytest.mark.parametrize(
    "meddle, fragment",
    [
        (lambda path: path.unlink(), "No such file"),
        (lambda path: path.rename(path.with_name("old")) and path.write_bytes(b""), "another one in its place"),
    ],
)
def test_a_file_that_is_taken_away_takes_no_more_rows(tmp_path, meddle, fragment, monkeypatch):
    monkeypatch.setattr(shards, "SYNC_EVERY", 0.0)
    opened = study.Store(tmp_path / "s")
    opened.open_for_writing()
    opened.append(new_row(), ASKED)
    (path,) = (tmp_path / "s" / "rows").iterdir()
    meddle(path)
    with pytest.raises(study.DiskError, match=fragment):
        opened.append(new_row(first=4), ASKED)
    with pytest.raises(study.DiskError, match=fragment):
        opened.close()


# Written by version 0.1.0: {"format": 2}, a cell and its row, an item that failed; and a row of format 1.
GOLDEN_LINES = """
{"format":2}
{"cell":"5d84fafc904c1dbd","labels":{"network":"rec","strategy":"scattered","size":"6"},"content":{"draws":1,"network":{"kind":"recurrent",\
"inputs":2,"hidden":4,"outputs":2,"steps":4,"activation":"linear","bias":false},"shared":["B","D"],"gains":{},"strategy":{"kind":"scattered",\
"budget":6,"within":"W"},"method":"newton","options":{"starts":3,"iterations":200},"tol":1e-20,"screen":false,"seed":7}}
{"rules":2,"cell":"5d84fafc904c1dbd","first":0,"count":16,"matched":11,"unmatched":0,"undecided":5,"screened":0,"solved_affine":0,\
"certified":0,"by_theorem":0,"found_after":[10,11,11],"quantity":"found","compared":{"maximal":[2,1],"intermediate":[14,10]},\
"required_rank":6,"seconds":0.008693,"seconds_theory":0.002076,"threads":1,"isa":"avx512","version":"0.1.0"}
{"cell":"5d84fafc904c1dbd","first":16,"count":16,"error":"MemoryError: too large"}
""".replace("\\\n", "").strip()  # fmt: skip
GOLDEN_OLD = """
{"format":1,"rules":2,"cell":"5d84fafc904c1dbd","first":25,"count":25,"matched":20,"unmatched":0,"undecided":5,"screened":0,\
"solved_affine":0,"certified":0,"by_theorem":0,"found_after":[15,18,20],"quantity":"found","compared":{"maximal":[1,1],\
"intermediate":[24,19]},"required_rank":6,"labels":{"network":"rec","strategy":"scattered","size":"6"},"content":{"draws":1,"network":{\
"kind":"recurrent","inputs":2,"hidden":4,"outputs":2,"steps":4,"activation":"linear","bias":false},"shared":["B","D"],"gains":{},\
"strategy":{"kind":"scattered","budget":6,"within":"W"},"method":"newton","options":{"starts":3,"iterations":200},"tol":1e-20,\
"screen":false,"seed":7},"seconds":0.03,"seconds_theory":0.003,"threads":null,"isa":"avx512","version":"0.1.0"}
""".replace("\\\n", "").strip()  # fmt: skip


def test_folders_of_both_formats_stay_readable_and_go_on(tmp_path):
    spec, folder = parse(control="false"), tmp_path / "s"
    (folder / "rows").mkdir(parents=True)
    (folder / "results.jsonl").write_text(f"{GOLDEN_OLD}\n")
    (folder / "rows" / "host-12-ab.jsonl").write_text(f"{GOLDEN_LINES}\n")
    opened = study.Store(folder)
    assert opened.done() == {"5d84fafc904c1dbd": [(25, 25), (0, 16)]} and not opened.note
    assert [entry["error"] for entry in opened.failures] == ["MemoryError: too large"]
    outcome = study.run(spec, folder)
    assert outcome.complete and (folder / "results.jsonl").read_text() == f'{GOLDEN_OLD}\n{{"format":2}}\n'
    after = study.Store(folder)
    assert not after.failures  # what failed has been measured since
    assert sorted(after.done()["5d84fafc904c1dbd"]) == [(0, 16), (16, 8), (24, 1), (25, 25), (50, 2), (52, 4), (56, 4)]


def test_a_row_is_what_measure_gives_and_its_cell_is_described_once(tmp_path):
    spec = parse(chunk="16")
    study.run(spec, tmp_path / "s")
    (path,) = (tmp_path / "s" / "rows").iterdir()
    lines = path.read_text().splitlines()
    golden = [json.loads(line) for line in GOLDEN_LINES.splitlines()]
    assert lines[:2] == GOLDEN_LINES.splitlines()[:2]
    rows = [json.loads(line) for line in lines]
    assert list(rows[2]) == [*golden[2], "host", "date"] and len([entry for entry in rows if "content" in entry]) == len(cells_of(spec))
    assert all(rows[2][key] == golden[2][key] for key in ("rules", "cell", "first", "count", "compared", "required_rank", "quantity"))


# Older rules


def test_rows_by_older_rules_are_set_aside_and_never_added(finished, tmp_path):
    spec, folder = finished
    old = []
    for known in study.Store(folder).rows:
        entry = {"format": 1, **known}
        # of every count the opposite, so that a sum with one of them would be seen
        count = entry["count"]
        entry |= {"matched": count, "unmatched": 0, "undecided": 0, "found_after": [count] * 3, "compared": {}}
        del entry["rules"]  # rules 1
        old.append(entry)
    other = write(tmp_path / "s", *old)
    total = sum(entry["count"] for entry in old)
    opened = study.Store(other)
    assert opened.rows == [] and len(opened.aside) == len(old) and opened.done() == {}
    assert f"set aside {total} trials that older rules judged: {total} of method newton by rules 1 (now " in opened.note
    assert "0 computed anew since; `sublearn run` computes anew" in opened.note
    opened.save_spec(spec)
    with pytest.warns(UserWarning, match=f"set aside {total} trials"):
        data = study.load(other)
    assert data["trials"].values.sum() == 0 and f"set aside {total}" in data.attrs["note"]

    before = opened.path.read_bytes()
    said = io.StringIO()
    outcome = study.run(spec, other, stream=said)
    assert outcome.complete and outcome.rows >= len(cells_of(spec)) and f"set aside {total} trials" in said.getvalue()
    assert opened.path.read_bytes().startswith(before)  # kept
    again = study.Store(other)
    assert "all computed anew since" in again.note
    assert study.load(other)["trials"].values.sum() == total  # no warning: nothing is missing
    cells = cells_of(spec)
    for one, two in zip(summaries(cells, again.rows), summaries(cells, study.Store(folder).rows), strict=True):
        assert (one.trials, one.matched, one.found_after, one.compared) == (two.trials, two.matched, two.found_after, two.compared)
    assert f"set aside {total} trials" in study.write_report(other).read_text(encoding="utf-8")


def test_every_row_carries_the_rules_of_its_method(both):
    rows = study.Store(both[1]).rows
    assert {(entry["content"]["method"], entry["rules"]) for entry in rows} == {(name, RULES[name]) for name in ("newton", "exact")}
    assert set(RULES) == set(METHODS)


def test_a_method_whose_rules_changed_is_computed_anew_and_the_others_stay(both, tmp_path, monkeypatch):
    spec, folder = both
    other = tmp_path / "s"
    shutil.copytree(folder, other)
    monkeypatch.setitem(RULES, "newton", RULES["newton"] + 1)
    newton = [cell for cell in cells_of(spec) if cell.method == "newton"]
    assert {entry["content"]["method"] for entry in study.Store(other).rows} == {"exact"}
    outcome = study.run(spec, other)
    assert outcome.complete and {entry["cell"] for entry in study.Store(other).rows} >= {cell.id for cell in newton}
    # a program with the old rules must not add to rows by rules that it does not know
    monkeypatch.undo()
    with pytest.raises(study.StoreError, match="read it with the version of sublearn that wrote it"):
        study.Store(other)


# Folders that cannot be used


@pytest.mark.parametrize("place", ["s", "s/results.jsonl", "s/spec.toml", "s/results.csv", "s/report.html", "s/figures"])
@pytest.mark.parametrize("kind", ["file", "folder"])
def test_files_and_folders_in_each_others_place_are_store_errors(finished, tmp_path, place, kind):
    spec, folder = finished
    if (kind == "file") == (place not in ("s", "s/figures")):
        return  # as it should be
    path = tmp_path / place
    path.parent.mkdir(exist_ok=True)
    if kind == "file":
        path.write_bytes(b"")
    else:
        path.mkdir()
    if place not in ("s", "s/results.jsonl"):
        shutil.copytree(folder / "rows", tmp_path / "s" / "rows")
    calls = {
        "read": lambda: study.Store(tmp_path / "s").spec(),
        "load": lambda: study.load(tmp_path / "s"),
        "plan": lambda: study.plan(spec, tmp_path / "s"),
        "run": lambda: study.run(spec, tmp_path / "s"),
        "report": lambda: study.write_report(tmp_path / "s", spec),
    }
    refused = set()
    for name, call in calls.items():
        try:
            done = call()
        except study.StoreError as error:
            assert str(tmp_path / "s") in str(error)
            refused.add(name)
        else:
            if name == "run" and place == "s/results.csv":
                assert done.complete and done.unwritable and "results.csv: expected to write" in done.problems[0]
    must = {"s": set(calls), "s/results.jsonl": set(calls), "s/spec.toml": {"read", "load", "run"}}
    assert refused >= must.get(place, {"report"}) and (place in must or "run" not in refused)


def test_a_path_that_cannot_be_is_a_store_error(tmp_path):
    for bad in ("a\0b", "x" * 5000):
        with pytest.raises(study.StoreError, match="can be read"):
            study.Store(tmp_path / bad)
        with pytest.raises(study.SpecError, match="readable study file"):
            study.read_spec(tmp_path / bad)


@given(st.binary(max_size=300))
@settings(max_examples=60, deadline=None)
def test_any_bytes_give_rows_or_a_clear_error(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("fuzz")
    (folder / "rows").mkdir()
    (folder / "rows" / "a-1-b.jsonl").write_bytes(json.dumps(row()).encode() + b"\n" + data)
    try:
        opened = study.Store(folder)
    except study.StoreError as error:
        assert "line" in str(error)
    else:
        assert len(opened.rows) == 1


class FullDisk(io.FileIO):
    """A file that takes half of a row and then refuses."""

    def write(self, data):
        if self.tell() > 2000:  # between two rows
            raise OSError(28, "No space left on device")
        return super().write(data[: max(1, len(data) // 2)])


def test_a_full_disk_is_a_clear_error_and_loses_nothing(tmp_path):
    opened = study.Store(tmp_path / "s")
    opened.open_for_writing()
    opened.append(new_row(), ASKED)
    opened._own._file.close()
    opened._own._file = FullDisk(opened._own.path, "ab")
    with pytest.raises(study.DiskError, match=r"No space left on device; the rows before are safe"):  # noqa: PT012  at some turn
        for first in range(4, 400, 4):
            opened.append(new_row(first=first), ASKED)
    opened.close()
    kept = study.Store(tmp_path / "s")
    assert kept.rows == opened.rows and len(kept.rows) > 2 and not kept.note


def test_a_full_disk_ends_a_run_with_all_that_it_wrote(tmp_path, monkeypatch):
    real, calls = study.Store.append, []

    def full(self, row, cell):
        calls.append(row)
        if len(calls) > 3:
            raise study.DiskError("expected to write 9 bytes, got: No space left on device")
        return real(self, row, cell)

    monkeypatch.setattr(study.Store, "append", full)
    outcome = study.run(parse(), tmp_path / "s")
    assert outcome.unwritable and outcome.rows == 3 and "No space left" in outcome.problems[0]
    assert len(study.Store(tmp_path / "s").rows) == 3


# Runs


def counts(folder, *leave_out):
    rows = [dict(entry) for entry in study.Store(folder).rows]
    for entry in rows:
        for key in ("seconds", "seconds_theory", "threads", "isa", "version", "host", "date", *leave_out):
            entry.pop(key)
    return rows


def test_rows_add_up_to_one_call_of_match_probability(finished):
    spec, folder = finished
    found = summaries(cells_of(spec), study.Store(folder).rows)
    for summary in found:
        cell = summary.cell
        whole = sl.match_probability(
            cell.net,
            cell.strategy,
            cell.trials,
            shared=cell.shared,
            seed=cell.seed,
            task=cell.task_number,
            screen=False,
            starts=cell.starts,
        )
        assert (summary.trials, summary.matched, summary.undecided) == (
            cell.trials,
            whole.matched,
            whole.undecided,
        )
        assert summary.found_after == whole.found_after.tolist()
        assert summary.interval == clopper_pearson(whole.matched, cell.trials)
        assert summary.compared.trials() == cell.trials
    assert {summary.cell.trials for summary in found} == {60, 30}


def test_a_finished_study_is_left_alone_and_an_extended_one_continued(finished, tmp_path):
    spec, folder = finished
    (path,) = (folder / "rows").iterdir()
    before = path.read_bytes()
    assert study.run(spec, folder).rows == 0
    assert [file.read_bytes() for file in (folder / "rows").iterdir()] == [before]
    other = tmp_path / "s"
    shutil.copytree(folder, other)
    more, said = parse(trials="70"), io.StringIO()
    outcome = study.run(more, other, stream=said)
    longer = [cell for cell in cells_of(more) if cell.trials == 70]
    assert outcome.complete and outcome.rows == 3 * len(longer)  # 60 to 63, 64 to 67, 68 and 69
    assert (other / "rows" / path.name).read_bytes() == before
    assert f"the study has changed (trials 60 -> 70): {len(cells_of(more))} cells go on, 0 are new" in said.getvalue()


def test_rows_do_not_depend_on_threads_and_sums_not_on_chunks(finished, tmp_path):
    spec, folder = finished
    for threads in (1, 2):
        study.run(spec, tmp_path / f"t{threads}", threads=threads)
    assert counts(tmp_path / "t1") == counts(tmp_path / "t2") == counts(folder)  # in blocks of 16: the chunk is 25
    other = parse(chunk="13")
    study.run(other, tmp_path / "c")
    cells = cells_of(spec)
    sums = [
        [(s.matched, s.undecided, s.found_after, s.compared) for s in summaries(cells, study.Store(place).rows)]
        for place in (folder, tmp_path / "c")
    ]
    assert sums[0] == sums[1]


def test_screened_studies_compare_nothing(tmp_path):
    spec = parse(seed="7\nscreen = true")
    study.run(spec, tmp_path / "s")
    found = summaries(cells_of(spec), study.Store(tmp_path / "s").rows)
    assert all(not summary.compared.counts for summary in found)
    assert "lets theory answer for the fit" in study.write_report(tmp_path / "s").read_text(encoding="utf-8")


def test_the_cap_of_judged_trials_holds_over_chunks(tmp_path):
    spec = parse(seed="7\ncompare = 30")
    study.run(spec, tmp_path / "s")
    for summary in summaries(cells_of(spec), study.Store(tmp_path / "s").rows):
        assert summary.compared.trials() == 30


def test_a_cell_that_fails_is_named_and_the_others_go_on(tmp_path, monkeypatch):
    real = measure

    tried = []

    def fails(entry, *others):
        tried.append(entry)
        if entry.cell.strategy_label == "rows":
            raise MemoryError("expected 8 bytes, got none")
        return real(entry, *others)

    monkeypatch.setattr(loop, "measure", fails)
    outcome = study.run(parse(), tmp_path / "s")
    assert outcome.left == 240 and len(outcome.problems) == 4  # three budgets and their control
    assert all("rec / rows / " in problem and "MemoryError: expected 8 bytes" in problem for problem in outcome.problems)
    assert len({(entry.cell.id, entry.first) for entry in tried if tried.count(entry) == 2}) == 4  # tried once more
    assert len(study.Store(tmp_path / "s").failures) == 4
    report_text = study.write_report(tmp_path / "s").read_text(encoding="utf-8")
    assert "This study is not finished:" in report_text
    with pytest.raises(MemoryError, match="expected 8 bytes"):
        study.run(parse(), tmp_path / "s", on_error="raise")
    monkeypatch.undo()
    assert study.run(parse(), tmp_path / "s").complete and not study.Store(tmp_path / "s").failures


def test_progress_is_a_line_or_a_bar(tmp_path, monkeypatch):
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    plain = io.StringIO()
    study.run(parse(), tmp_path / "plain", stream=plain)
    lines = plain.getvalue().splitlines()
    cells = cells_of(parse())
    assert f"{len(cells)} cells, {sum(cell.trials for cell in cells)} trials, 0 done before" in lines[0]
    assert any(re.search(r"\d+ of \d+ trials \(\d+%\), .* trials/s, about .* left, now rec / ", line) for line in lines)
    assert all(re.match(r"\d\d:\d\d:\d\d sublearn: ", line) for line in lines)

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    bar = Terminal()
    study.run(parse(), tmp_path / "bar", stream=bar)
    assert "trials" in bar.getvalue()
    silent = io.StringIO()
    study.run(parse(), tmp_path / "bar", stream=silent)
    assert silent.getvalue() == ""  # nothing to do, nothing to say


def test_progress_needs_no_encoding(tmp_path, monkeypatch):
    """A label outside the stream's encoding comes out escaped, on a file and on a terminal, and does not end the run."""
    monkeypatch.setattr(progress, "PLAIN_EVERY", 0.0)
    spec = parse(SMALL.replace('label = "rows"', 'label = "r\u00e9seau \u7db2"'))
    for terminal in (False, True):
        raw = io.BytesIO()
        stream = io.TextIOWrapper(raw, encoding="ascii")  # errors="strict"
        stream.isatty = lambda terminal=terminal: terminal
        outcome = study.run(spec, tmp_path / f"s{terminal}", stream=stream)
        assert outcome.complete and rb"now rec / r\xe9seau \u7db2 / " in raw.getvalue()


@pytest.mark.parametrize("before", [signal.SIG_IGN, None])
def test_a_handler_that_could_not_be_put_back_is_left_alone(tmp_path, monkeypatch, before):
    """None is what getsignal tells of a handler that Python did not install: signal.signal does not take it back."""
    real, changed = signal.signal, []
    monkeypatch.setattr(signal, "getsignal", lambda number: before if number == signal.SIGINT else signal.SIG_DFL)
    monkeypatch.setattr(signal, "signal", lambda number, handler: changed.append(number) or real(number, handler))
    assert study.run(parse(), tmp_path / "s").complete
    others = [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1]
    assert changed == others + others  # taken and put back


def test_plan_predicts_and_writes_nothing(tmp_path):
    spec = parse()
    lines = study.plan(spec, tmp_path / "none")
    assert [line.cell.id for line in lines] == [cell.id for cell in cells_of(spec)]
    assert all(line.done == 0 and line.seconds > 0 for line in lines)
    assert not (tmp_path / "none").exists()


def test_a_plan_of_a_finished_study_is_empty(finished):
    spec, folder = finished
    assert all(line.done == line.cell.trials and line.seconds == 0 for line in study.plan(spec, folder))


SLOW = SMALL.replace("trials = 60", "trials = 40000").replace("chunk = 25", "chunk = 200").replace("starts = 3", "starts = 40")


@pytest.mark.slow
def test_kill_at_any_moment_loses_at_most_a_chunk(tmp_path):
    folder, before = tmp_path / "sublearn-small", []
    for wait in (0.05, 0.3, 0.7):
        with start(tmp_path, SLOW, "small", len(before)) as (process, _):
            time.sleep(wait)
            process.kill()
            process.communicate()
        rows = study.Store(folder).rows
        assert len(rows) > len(before) and all(entry in rows for entry in before)
        before = rows
    # what was kept is what an undisturbed run gives
    cells = {cell.id: cell for cell in cells_of(study.parse_spec(SLOW))}
    for entry in before[:: max(1, len(before) // 4)]:
        again = measure(Item(cells[entry["cell"]], entry["first"], entry["count"], 1024))
        assert all(again[key] == entry[key] for key in ("matched", "undecided", "found_after", "compared"))


# Method exact: existence beside findability

BOTH = (
    """
[study]
name = "both"
trials = 120
starts = 3
method = ["exact", "newton"]
chunk = 50

"""
    + NETWORK
    + """
[[network]]
label = "ff"
kind = "feedforward"
widths = [3, 4, 2]
samples = 3
trials = 60

[[strategy]]
label = "scattered"
kind = "scattered"
within = "W"
budgets = "3..5"
networks = ["rec"]
reference = [{ budget = 4, value = 0.9 }, { budget = 4, value = 0.98, method = "exact" }]

[[strategy]]
label = "rows"
kind = "rows"
within = "W"
budgets = [4, 5]
networks = ["rec"]

[[strategy]]
label = "split"
kind = "split"
within = ["W1", "W2"]
budgets = [[3, 3], [0, 6]]
networks = ["ff"]
"""
)


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """(spec, folder) of a study that decides and searches the same trials."""
    folder = tmp_path_factory.mktemp("both") / "s"
    spec = study.parse_spec(BOTH, "both.toml")
    assert study.run(spec, folder).complete
    study.write_report(folder)
    return spec, folder


def test_exact_cells_have_no_options_and_are_screened():
    cells = [cell for cell in cells_of(study.parse_spec(BOTH)) if cell.method == "exact"]
    assert all(cell.options == {} and cell.screen and cell.tol == 1e-20 and not cell.control for cell in cells)
    changed = BOTH.replace("starts = 3", "starts = 9\ntol = 1e-12\nnewton = { iterations = 50 }")
    others = [cell for cell in cells_of(study.parse_spec(changed)) if cell.method == "exact"]
    assert [cell.id for cell in others] == [cell.id for cell in cells]
    assert {cell.task_number for cell in cells if cell.network_label == "rec"} == {
        cell.task_number for cell in cells_of(study.parse_spec(BOTH)) if cell.network_label == "rec"
    }
    relu = BOTH.replace("steps = 5", 'steps = 5\nactivation = "relu"')  # where a search is a part of it
    assert any(cell.options["starts"] == 3 for cell in cells_of(study.parse_spec(relu)) if cell.method == "exact" and cell.options)


def test_values_known_of_searches_are_not_held_against_existence():
    def values(text, method):
        return [r.value for cell in cells_of(study.parse_spec(text)) if cell.method == method for r in cell.reference]

    assert values(BOTH, "exact") == [0.98] and values(BOTH, "newton") == [0.9]
    alone = BOTH.replace('["exact", "newton"]', '"exact"').replace(', method = "exact"', "")
    assert values(alone, "exact") == [0.9, 0.98]


def test_existence_bounds_what_is_found(both):
    spec, folder = both
    found = summaries(cells_of(spec), study.Store(folder).rows)
    exact = {(s.cell.network_label, s.cell.strategy_label, s.cell.arguments): s for s in found if s.cell.method == "exact"}
    for summary in exact.values():
        cell = summary.cell
        assert summary.quantity == "existence" and summary.quantity_text == EXISTENCE and summary.found_after == []
        whole = sl.match_probability(cell.net, cell.strategy, cell.trials, cell.shared, "exact", seed=cell.seed, task=cell.task_number)
        assert (summary.matched, summary.unmatched, summary.undecided) == (whole.matched, whole.unmatched, whole.undecided)
        assert summary.certified + summary.by_theorem <= summary.matched
        assert summary.interval == whole.existence_interval
    for summary in found:
        true = exact.get((summary.cell.network_label, summary.cell.strategy_label, summary.cell.arguments))
        if true is not None and summary.cell.method == "newton":
            assert summary.matched <= true.matched + true.undecided
    at = exact["rec", "scattered", "4"]
    assert at.certified > 0.9 * at.matched > 100
    assert exact["rec", "scattered", "3"].unmatched == exact["rec", "rows", "4"].matched == 120
    # theory is asked for every mask, for its limits
    assert exact["rec", "rows", "4"].compared.counts == {"maximal": (120, 120)}


def test_undecided_trials_are_left_open_by_the_interval():
    tanh = BOTH.replace("steps = 5", 'steps = 5\nactivation = "tanh"')
    cell = next(cell for cell in cells_of(study.parse_spec(tanh)) if cell.method == "exact")
    summary = Summary(cell)
    summary.add(row(count=100, matched=80, unmatched=15, undecided=5, quantity="existence", found_after=[]))
    assert summary.interval == (clopper_pearson(80, 100)[0], clopper_pearson(85, 100)[1])
    assert page.value(summary).endswith("5 undecided")
    summary.add(row(first=100, count=100, matched=60, unmatched=0, undecided=40, quantity="found", found_after=[]))
    assert summary.quantity_text.startswith("share of trials with a known match")
    assert summary.interval == (clopper_pearson(140, 200)[0], clopper_pearson(185, 200)[1])


def test_rows_of_earlier_versions_are_read_and_wrong_counts_refused(tmp_path):
    opened = study.Store(write(tmp_path / "old", without("certified", "by_theorem")))
    assert opened.rows[0]["certified"] == opened.rows[0]["by_theorem"] == 0
    for wrong, fragment in ((row(certified=2), "certified + by_theorem <= matched"), (row(certified=-1), "wrong or missing certified")):
        with pytest.raises(study.StoreError, match=re.escape(fragment)):
            study.Store(write(tmp_path / "new", wrong))


def test_the_report_sets_existence_against_findability(both):
    text = (both[1] / "report.html").read_text(encoding="utf-8")
    for words in (
        "Existence against findability",
        EXISTENCE,
        "found probability (newton, 3 starts",
        "Against exact verdicts",
        "matched where theory promises a match (exact)",
    ):
        assert words in text, words
    assert "found although theory excludes a match (exact)" not in text  # a rank is no test of a rank
    names = {path.name for path in (both[1] / "figures").glob("existence-*")}
    assert names == {f"existence-{name}-newton.{form}" for name in ("rec", "ff-split") for form in ("pdf", "svg", "png")}


def test_existence_is_drawn_solid_and_found_dashed(both, pyplot):
    data = study.load(both[1])
    ax = plot.existence(data, "rec")
    told = [text.get_text().replace("\n", " ") for text in ax.get_legend().get_texts()]
    assert told == ["scattered", "rows", EXISTENCE, "found probability (newton, 3 starts, relative loss < 1e-20)",
                    "the same, first start only"]  # fmt: skip
    assert "existence" in ax.get_ylabel() and "found" in ax.get_ylabel()
    drawn = {name: [line for line in ax.lines if line.get_linestyle() == kind and len(line.get_xdata()) > 1]
             for name, kind in (("exact", "-"), ("found", "--"))}  # fmt: skip
    curves = {}
    for method in ("exact", "newton"):
        part = data.isel(cell=np.flatnonzero((data["method"].values == method) & (data["strategy"].values == "scattered")))
        curves[method] = part["probability"].values[np.argsort(part["budget"].values)].tolist()
    assert any(np.array_equal(line.get_ydata(), curves["exact"]) for line in drawn["exact"])
    assert any(np.array_equal(line.get_ydata(), curves["newton"]) for line in drawn["found"])
    assert plot.existence(data, "ff", split="split").get_xlabel().startswith("learnable weights in W1")
    with pytest.raises(ValueError, match="method: expected one of"):
        plot.probability(data, "rec", quantity_text=None)
    assert plot.probability(data, "rec", method="exact").get_ylabel().replace("\n", " ") == EXISTENCE


def test_existence_needs_both(finished, pyplot):
    with pytest.raises(ValueError, match="data: expected measured cells of"):
        plot.existence(study.load(finished[1]), "rec")


# What is made of the rows


def test_load_gives_the_counts(finished):
    spec, folder = finished
    data = study.load(folder)
    found = summaries(cells_of(spec), study.Store(folder).rows)
    assert data.sizes["cell"] == len(found) and data["id"].values.tolist() == [summary.cell.id for summary in found]
    assert data["matched"].values.tolist() == [summary.matched for summary in found]
    np.testing.assert_allclose(data["probability"], data["matched"] / data["trials"])
    assert ((data["low"] <= data["probability"]) & (data["probability"] <= data["high"])).all()
    scattered = data.isel(cell=np.flatnonzero(data["strategy"].values == "scattered"))
    assert scattered["budget"].values.tolist() == [6, 7, 8, 5]
    assert scattered["control"].values.tolist() == [False, False, False, True]
    assert (scattered["found_after"].isel(start=-1) == scattered["matched"]).all()
    assert (scattered["predicted"].sum("kind") == 60).all()
    assert set(data["quantity_text"].values.tolist()) <= {
        "found probability (newton, 3 starts, relative loss < 1e-20)",
        "match probability (existence)",
    }
    with pytest.raises(study.StoreError, match="expected the folder of a study"):
        study.load(folder.parent)


def test_csv_has_a_line_per_cell_with_trial_ranges(finished):
    import csv

    spec, folder = finished
    with open(folder / "results.csv", newline="", encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    assert [line["cell"] for line in lines] == [cell.id for cell in cells_of(spec)]
    for line in lines:
        assert line["trial_ranges"] == f"0-{int(line['trials']) - 1}"
        assert int(line["matched"]) + int(line["unmatched"]) + int(line["undecided"]) == int(line["trials"])
        assert line["quantity"].startswith(("found probability (newton", "match probability (existence)"))


def test_a_sum_with_a_searched_row_is_found():
    cell = cells_of(parse())[0]
    summary = Summary(cell)
    assert summary.quantity == ""
    summary.add(row(quantity="existence", undecided=0, unmatched=3, solved_affine=4))
    assert summary.quantity == "existence"
    summary.add(row(first=4))
    summary.add(row(first=8, quantity="existence", undecided=0, unmatched=3, solved_affine=4))
    assert summary.quantity == "found" and summary.trials == 12


def test_the_report_counts_all_trials_that_its_numbers_rest_on():
    """A study whose `trials` was lowered keeps the rows beyond: they are in the probabilities, so they are in the count."""
    summary = Summary(cells_of(parse())[0])
    asked = summary.cell.trials
    summary.add(row(count=asked + 1, matched=asked, unmatched=0, undecided=1, found_after=[asked] * 3))
    assert summary.trials == asked + 1
    assert findings.tiles([summary])["trials"] == asked + 1
    tile = re.search(r"(\d+)[^\d]*trials run", page.render("tiles.html", tiles=findings.tiles([summary])))
    assert tile and int(tile[1]) == asked + 1


def test_reference_lines_by_hand(finished):
    spec, folder = finished
    found = summaries(cells_of(spec), study.Store(folder).rows)
    lines = {line.reference.value: line for line in references.references(found)}
    line, summary = (
        lines[0.999],
        next(s for s in found if s.cell.arguments == "7" and s.cell.strategy_label == "scattered"),
    )
    pooled = (summary.matched + 999) / (60 + 1000)
    error = (pooled * (1 - pooled) * (1 / 60 + 1 / 1000)) ** 0.5
    assert line.error == pytest.approx(error)
    assert line.deviation == pytest.approx((summary.probability - 0.999) / error)
    assert line.below == (line.deviation < -2)
    early = lines[0.1]
    assert early.starts == 1 and early.measured == early.summary.found_after[0] / 60


def test_exact_references_have_no_error_of_their_own():
    cell = cells_of(parse(SMALL.replace("value = 0.999, trials = 1000", "value = 0.5")))[1]
    summary = Summary(cell)
    summary.add(row(count=100, matched=30, unmatched=0, undecided=70, found_after=[10, 20, 30]))
    (line,) = references.references([summary])
    assert line.deviation == pytest.approx(-0.2 / 0.05) and line.below


def test_the_report_is_self_contained_and_says_what_it_shows(finished):
    spec, folder = finished
    text = (folder / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?i)https?://|<script[^>]*src|<link|@import|url\(|<img", text)
    assert text.count('<figure class="curves"') >= 5
    for words in (
        "What is exact and what is estimated",
        "Theory against measurement",
        "minimal + maximal",
        "Reference values",
        "made up",
        "Control: one weight too few",
        "found probability (newton, 3 starts, relative loss &lt; 1e-20)",
        "required rank κ",
        "Clopper–Pearson",
        "no contradiction",
    ):
        assert words in text, words
    assert "<table>" in text and text.count("<html") == text.count("</html>") == 1
    for form, first in {"png": b"\x89PNG", "pdf": b"%PDF", "svg": b"<?xml"}.items():
        paths = list((folder / "figures").glob(f"*.{form}"))
        assert len(paths) >= 5 and all(path.read_bytes().startswith(first) for path in paths)


def test_the_report_escapes_what_it_is_given(tmp_path):
    spec = parse(SMALL.replace('name = "small"', 'name = "small"\ntitle = "<b>a & b</b>"').replace('label = "rows"', 'label = "<i>rows"'))
    study.run(spec, tmp_path / "s")
    text = study.write_report(tmp_path / "s").read_text(encoding="utf-8")
    assert "&lt;b&gt;a &amp; b&lt;/b&gt;" in text and "<b>a & b" not in text and "<i>rows" not in text
    assert 'aria-label="mask of &lt;i&gt;rows, ' in text and "&amp;lt;" not in text  # once, not twice


@pytest.mark.parametrize("kind", strategy_entry.FILE_KINDS)
def test_the_report_has_words_for_every_kind_of_strategy(kind):
    about = strategy_entry.FILE_KINDS[kind]
    words = setting.sentence_of(StrategySpec("s", kind, ("W<",), ({},), ("rec",)))
    assert len(words) > 10 and ("W<" in words) == (about.within is not None or about.by_group)
    entry = {"label": "s", "sentence": words, "sizes": ["1"], "networks": ("rec",)}
    text = page.render("asked.html", setting={"networks": [], "strategies": [entry], "quantities": [], "families": 2})
    assert re.findall(r"<td>(.*?)</td>", text)[1] == words.replace("<", "&lt;")


def test_a_new_strategy_is_one_function(monkeypatch, tmp_path):
    """In files, on the command line, in reports and in the size of a cell, by its entry in the registry alone."""

    def last(net, budget, within):
        grid = strategies._one_grid(net, within)
        return strategies._always(
            net, f"last({within})", grid.reshape(-1)[::-1][:budget], {"kind": "last", "budget": budget, "within": within}
        )

    monkeypatch.setitem(strategies.STRATEGIES, "last", None)  # to be taken out again
    strategies._kind("the last r weights of {groups}", ("budget",), "within", "{budget} last")(last)
    monkeypatch.setitem(strategy_entry.FILE_KINDS, "last", strategies.STRATEGIES["last"])
    text = SMALL.replace('kind = "scattered"', 'kind = "last"', 1)
    assert 'kind = "last"' in text
    spec = parse(text)
    cell = next(cell for cell in cells_of(spec) if cell.content["strategy"]["kind"] == "last")
    assert cell.arguments == f"{cell.budget} last" and cell.strategy.allocation.indices[-1] == cell.net.slices["W"].stop - 1
    study.run(spec, tmp_path / "s")
    assert "the last r weights of W" in study.write_report(tmp_path / "s").read_text(encoding="utf-8")
    from sublearn.cli.common import strategy_in

    assert strategy_in(cell.net, "last budget=3 within=W", ()).budget == 3


def test_a_report_can_be_made_of_a_part_and_leaves_other_rows_out(finished, tmp_path):
    spec, folder = finished
    write(tmp_path / "s", *study.Store(folder).rows[:4], row())
    text = study.write_report(tmp_path / "s", spec).read_text(encoding="utf-8")
    assert "This study is not finished:" in text and "rows of 1 cells that the study no longer asks for" in text


# Figures


@pytest.fixture
def pyplot():
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    yield plt
    plt.close("all")


def test_plots_take_an_ax_and_give_it_back(finished, pyplot):
    data = study.load(finished[1])
    found = "found probability (newton, 3 starts, relative loss < 1e-20)"
    for draw in (
        lambda ax: plot.probability(data, "rec", ax),
        lambda ax: plot.restarts(data, "rec", "scattered", ax),
        lambda ax: plot.split(data, "ff", "split", ax),
        lambda ax: plot.mask(sl.rows(sl.Recurrent(2, 4, 2, 3), 5, "W").allocation, ("B",), ax),
    ):
        ax = pyplot.figure().add_subplot()
        assert draw(ax) is ax
        assert draw(None) is not ax
    ax = plot.probability(data, "rec")
    assert ax.get_ylabel().replace("\n", " ") == found
    dashes = {line.get_gid() for line in ax.lines}
    assert "theory_high" in dashes
    assert any(text.get_text() == "required rank κ = 6" for text in ax.texts)
    verticals = [line for line in ax.lines if list(line.get_xdata()) == [6, 6]]
    assert len(verticals) == 1


def test_the_bands_are_clopper_pearson(finished, pyplot):
    data = study.load(finished[1])
    ax = plot.probability(data, "rec")
    part = data.isel(cell=np.flatnonzero(data["strategy"].values == "rows"))
    bars = np.concatenate(
        [[segment[:, 1] for segment in lines.get_segments()] for lines in ax.collections if hasattr(lines, "get_segments")]
    )
    for matched, trials in zip(part["matched"].values, part["trials"].values):
        assert np.isclose(bars, clopper_pearson(int(matched), int(trials))).all(axis=1).any()


def test_found_and_existence_are_never_drawn_under_one_name(finished, pyplot):
    data = study.load(finished[1]).copy(deep=True)
    data["quantity"].values[0] = "existence"
    data["quantity_text"] = data["quantity_text"].astype("U80")
    data["quantity_text"].values[0] = EXISTENCE
    ax = plot.probability(data, "rec")
    assert ax.get_ylabel().startswith("found probability") and EXISTENCE in [text.get_text() for text in ax.get_legend().get_texts()]
    data["quantity_text"].values[1] = "found probability (newton, 9 starts, relative loss < 1e-20)"
    with pytest.raises(ValueError, match="must not share an axis"):
        plot.probability(data, "rec")
    with pytest.raises(ValueError, match="expected measured cells of 'nowhere'"):
        plot.probability(data, "nowhere")


def test_a_strategy_keeps_its_colour(finished):
    import xarray

    labels = {"a": ("n1", "n2"), "b": ("n1",), "c": ("n2",), "d": ("n2",)}
    pairs = [(label, network) for label, networks in labels.items() for network in networks]
    data = xarray.Dataset(
        coords={
            "strategy": ("cell", [pair[0] for pair in pairs]),
            "network": ("cell", [pair[1] for pair in pairs]),
            "control": ("cell", [False] * len(pairs)),
        }
    )
    look = plot.colours(data)
    assert look["b"] == look["c"] and len({look["a"], look["c"], look["d"]}) == 3


def test_masks_have_three_colours(pyplot):
    from matplotlib.colors import to_hex

    net = sl.Recurrent(inputs=2, hidden=4, outputs=2, steps=3)
    ax = plot.mask(sl.rows(net, 5, within="W").allocation, ("B", "D"))
    seen = {to_hex(pixel).upper() for image in ax.images for pixel in np.asarray(image.get_array()).reshape(-1, 3)}
    assert seen == {masks.LEARNABLE.upper(), masks.FROZEN.upper(), masks.SHARED.upper()}
    learnable = sum(
        (np.asarray(image.get_array()).reshape(-1, 3) == np.array([int(masks.LEARNABLE[k : k + 2], 16) for k in (1, 3, 5)]) / 255)
        .all(axis=1)
        .sum()
        for image in ax.images
    )
    assert learnable == 5


def test_a_screen_does_not_answer_for_a_tolerance():
    with pytest.raises(study.SpecError, match="screen: expected false with tol.newton = 1e-06"):
        study.parse_spec(SMALL.replace("[study]", "[study]\nscreen = true\ntol = { newton = 1e-6 }"))
    assert study.parse_spec(SMALL.replace("[study]", "[study]\nscreen = true\ntol = { newton = 1e-22 }")).screen
