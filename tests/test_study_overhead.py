"""The benchmark of a study's bookkeeping: its candidates ask the same questions, and its table says what was planted."""

import pytest

from bench import study_overhead
from bench.study_overhead import EVERY, OWN, WARM, alone, as_text, count, small_cells, small_spec
from sublearn import study


def test_the_study_asks_what_the_others_ask(tmp_path):
    keys = EVERY[:24]
    study_overhead.ours(keys, tmp_path)
    data = study.load(tmp_path / "s").isel(cell=slice(24))  # its file has them all
    assert data["budget"].values.tolist() == [key[-1] for key in keys] and data["strategy"].values.tolist() == [key[3] for key in keys]
    cells = study.cells_of(small_spec(len(EVERY), ", control = false"))
    assert len(cells) == len(EVERY) == 10_000
    assert [(c.net.inputs, c.net.hidden, c.net.steps, c.strategy_label, c.budget) for c in cells[:5000:7]] == EVERY[:5000:7]
    assert data["trials"].values.tolist() == [study_overhead.TRIALS] * 24
    # budgets of all of W are one of the checks: the same trials but for the task number, so both match where all can
    assert [count(key) for key in keys if key[1] == 2 and key[-1] == 4] == [64] * 6 == data["matched"].values[3::4].tolist()


@pytest.mark.parametrize("name", OWN)
def test_a_candidate_alone_is_timed(name):
    told = alone(name, 2 * WARM)
    assert told["cells"] == 2 * WARM and told["start"] > 0 and {"wall", "cpu"} < set(told)


def test_the_table_has_medians_of_differences_and_says_what_failed(monkeypatch):
    options = type("Options", (), {"cells": 100, "peer_cells": 50, "rounds": 3})
    spent = {"direct": 1.0, "study.run": 1.2, "study.run theory": 1.5, "sinter": 2.0, "joblib": 0.7, "plan": 0.1}
    rounds: dict = {}

    def ask(_, name, __, cells):
        if name == "optuna":
            return "no module named optuna"
        number = rounds[name, cells] = rounds.get((name, cells), 0) + 1
        slow = 10.0 if name == "study.run" and number == 2 else 0.0  # a neighbour on the machine
        seconds = 0.5 if (name, cells) == ("direct", 50) else spent[name]
        return {"wall": seconds + slow, "cpu": seconds, "start": 0.1, "cells": cells}

    monkeypatch.setattr(study_overhead, "ask", ask)
    table = small_cells(options)
    assert table["study.run"]["cpu_per_cell"] == pytest.approx(0.002) == table["study.run"]["wall_per_cell"]
    assert table["sinter"]["cpu_per_cell"] == pytest.approx(0.03) and table["joblib"]["cpu_per_cell"] == pytest.approx(0.004)
    assert table["study.run"]["wall_range"][1] == pytest.approx(0.102) and table["optuna"] == {"absent": "no module named optuna"}
    text = as_text(table)
    assert "optuna            not measured: no module named optuna" in text and "2.00" in text.splitlines()[2]
