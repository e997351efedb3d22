"""Measuring rows anew: true rows agree, a changed one is found, and rows that need not agree are told apart."""

import json
import random
import shutil

import pytest

from sublearn import _cpu, study
from sublearn.cli.main import main
from sublearn.match.methods import RULES
from sublearn.study import verifying
from sublearn.study.files import StoreError

TEXT = """
[study]
name = "verified"
trials = 200
starts = 2
chunk = 64
compare = 100
method = ["newton", "exact"]

[[network]]
label = "rec"
kind = "recurrent"
inputs = 1
hidden = [3, 4]
outputs = 1
steps = 4
shared = ["B", "D"]

[[strategy]]
kind = "scattered"
within = "W"
budgets = ["kappa - 1 .. kappa + 1"]
"""


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("verify") / "sublearn-verified"
    assert study.run(study.parse_spec(TEXT), folder).complete
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "s")


def change(folder, work, which=0, fits=lambda row: row["unmatched"] + row["undecided"] > 0):
    """Have work(row) change a row in the files, of number `which` among those that fit; that row as it was."""
    (path,) = (folder / "rows").iterdir()
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    place = [k for k, line in enumerate(lines) if "matched" in line and fits(line)][which]
    before = dict(lines[place])
    work(lines[place])
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return before


def one_more(row):
    """A match that never was."""
    row["matched"] += 1
    row["undecided" if row["undecided"] else "unmatched"] -= 1


def test_true_rows_agree(finished):
    found = study.verify(finished, share=1)
    store = study.Store(finished)
    assert found.rows == found.of_rows == len(store.rows) > 24 and found.trials == 12 * 200
    assert not found.differences and (found.aside, found.left) == (0, 0)
    assert str(found) == f"{found.rows} of {found.rows} rows (2400 trials) measured anew, 0 differ"


@pytest.mark.parametrize("which", [0, 7, -1])
def test_a_changed_count_is_found(folder, which, capsys):
    before = change(folder, one_more, which)
    found = study.verify(folder, share=1)
    (difference,) = found.errors
    assert (difference.cell.id, difference.first, difference.count) == (before["cell"], before["first"], before["count"])
    assert difference.then["matched"] == before["matched"] + 1 == difference.now["matched"] + 1 and difference.matched == 1
    assert f"matched {before['matched'] + 1} in the row, {before['matched']} anew" in str(difference)
    assert main(["verify", str(folder), "--share", "1"]) == 1
    out = capsys.readouterr().out
    assert "differs: rec, hidden" in out and "1 differ" in out


@pytest.mark.parametrize("key", ["screened", "required_rank", "certified", "found_after", "compared"])
def test_every_number_is_compared(folder, key):
    rows = study.Store(folder).rows

    def change_key(row):
        if key == "compared":
            row[key] = {kind: [trials, matched - (matched > 0)] for kind, (trials, matched) in row[key].items()}
        elif key == "found_after":
            row[key] = [count - 1 for count in row[key]]
        else:
            row[key] += -1 if row[key] else 1

    wanted = next(
        k for k, row in enumerate(rows)
        if row["matched"] > row["certified"] + row["by_theorem"] and (key != "screened" or row["solved_affine"] < row["count"])
        and (key != "found_after" or (row[key] and row[key][0] > 0)) and (key != "compared" or row["compared"])
    )  # fmt: skip
    block = ("cell", "first", "count")
    change(folder, change_key, fits=lambda row: all(row[part] == rows[wanted][part] for part in block))
    (difference,) = study.verify(folder, share=1).errors
    assert set(difference.then) == {key} == set(difference.now)


def test_rows_of_another_instruction_set_are_told_apart(folder, capsys):
    def elsewhere(row):
        one_more(row)
        row["isa"] = "another"

    before = change(folder, elsewhere)
    found = study.verify(folder, share=1)
    (difference,) = found.differences
    assert not found.errors and difference.expected
    assert f"1 of other instruction sets or backends differ, as searches may: by 1 matches in {before['count']} trials" in str(found)
    assert main(["verify", str(folder), "--share", "1"]) == 0
    assert "0 differ" in capsys.readouterr().out


def test_rows_of_another_backend_are_told_apart(folder):
    change(folder, lambda row: (one_more(row), row.update(backend="cuda")))
    found = study.verify(folder, share=1)
    assert len(found.differences) == 1 and not found.errors


@pytest.mark.skipif(len(_cpu.isas()) < 2, reason="needs two instruction sets")
def test_another_instruction_set_is_within_a_few_trials(finished):
    before = _cpu.isa()
    _cpu.set_isa(next(name for name in _cpu.isas() if name != before))
    try:
        found = study.verify(finished, share=1)
    finally:
        _cpu.set_isa(before)
    assert not found.errors and sum(difference.matched for difference in found.differences) < 0.02 * found.trials


def test_rows_by_older_rules_are_said_and_not_compared(folder, monkeypatch):
    monkeypatch.setitem(RULES, "newton", RULES["newton"] + 1)
    found = study.verify(folder, share=1)
    store = study.Store(folder)
    assert found.aside == len(store.aside) > 0 and found.rows == len(store.rows) and not found.differences
    assert f"{found.aside} rows by older rules are not compared" in str(found)


def test_the_share_is_drawn_and_every_cell_has_a_row(finished):
    rows = study.Store(finished).rows
    some = verifying._chosen(rows, 0.25, 0, random.Random(1))
    assert len(some) == -(-len(rows) // 4) and len({id(row) for row in some}) == len(some)
    assert [row["first"] for row in some] == [row["first"] for row in verifying._chosen(rows, 0.25, 0, random.Random(1))]
    assert some != verifying._chosen(rows, 0.25, 0, random.Random(2))
    assert {row["cell"] for row in verifying._chosen(rows, 0, 100, random.Random(1))} == {row["cell"] for row in rows}
    assert len(verifying._chosen(rows, 0, 5, random.Random(1))) == 5
    assert len(verifying._chosen(rows, 1, 1, random.Random(1))) == len(rows)


def test_time_limits_what_is_measured(finished):
    found = study.verify(finished, share=1, seconds=1e-9)
    assert found.rows == 1 and found.left == found.of_rows - 1 and f"no time for {found.left} more" in str(found)


def test_a_row_that_cannot_be_measured_differs(folder, monkeypatch):
    def fail(item, threads):
        raise MemoryError("too large")

    monkeypatch.setattr(verifying, "measure", fail)
    found = study.verify(folder, share=0, cells=1)
    assert len(found.errors) == 1 and "error None in the row, MemoryError: too large anew" in str(found.errors[0])


def test_what_cannot_be_verified_is_refused(folder, tmp_path, capsys):
    with pytest.raises(ValueError, match="share: expected a number from 0 to 1, got 2"):
        study.verify(folder, share=2)
    with pytest.raises(StoreError, match="expected the folder of a study"):
        study.verify(tmp_path / "nothing")
    shutil.rmtree(folder / "rows")
    with pytest.raises(StoreError, match="expected a folder with results, got none"):
        study.verify(folder)
    assert main(["verify", str(folder)]) == 2
    assert "expected a folder with results" in capsys.readouterr().err
    for wrong in (["--share", "2"], ["--share", "x"], ["--seconds", "0"], ["--cells", "0"]):
        with pytest.raises(SystemExit):
            main(["verify", str(folder), *wrong])
        assert "expected a" in capsys.readouterr().err
