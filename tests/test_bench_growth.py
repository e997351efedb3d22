"""The benchmark of growth: its methods reach the widths asked for, its random baseline is what it says, and what is missing is said."""

import json

import numpy as np
import pytest

import sublearn as sl
from bench import growth
from sublearn.data.pictures import Pictures


@pytest.fixture(autouse=True)
def few_pictures(monkeypatch):
    """Made up, so that scikit-learn is not needed, and few."""
    rng = np.random.default_rng(0)
    labels = np.arange(60) % 10
    x = rng.normal(size=(10, 64))[labels].T + 0.3 * rng.normal(size=(64, 60))
    monkeypatch.setattr(sl.pictures, "digits", lambda train: Pictures(x[:, :40], labels[:40], x[:, 40:], labels[40:]))


def test_every_method_is_told_at_every_width(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(growth.METHODS, "gromo", lambda *_: (_ for _ in ()).throw(ImportError("No module named 'gromo'")))
    assert growth.main(["--quick", "--only", "loss", "--json", str(tmp_path / "out.json")]) == 0
    assert "gromo     not measured: No module named 'gromo'" in capsys.readouterr().out
    rows = json.loads((tmp_path / "out.json").read_text())["losses"]
    asked = [(head[:3], methods) for *head, methods in growth.questions(True)]
    wanted = {(activation, loss, between, name) for (activation, loss, between), names in asked for name in names} - {
        ("tanh", "squared", 10, "gromo")
    }
    assert {(row["activation"], row["loss"], row["between"], row["method"]) for row in rows} == wanted
    for row in rows:
        assert len(row["values"]) == len(row["widths"]) == 2 and np.isfinite(row["values"]).all() and 0 <= row["accuracy"] <= 1
        if row["between"] == 0:
            assert row["values"][0] >= row["values"][1]


def test_random_neurons_are_added_where_they_help():
    task = growth.Task("tanh", "squared", 1)
    part, net = task.net.unpack(task.start[0]), task.of_width(4)
    before = task.value(task.net, task.start)
    for between in (0, 10):
        wide = growth.wider(task, net, part, np.random.default_rng(1), between)
        assert np.array_equal(wide["W1"][:2], part["W1"])
        assert task.value(net, net.pack(wide)[None])[0] <= before[0] * (1 + 1e-12)
        assert between == 0 or np.array_equal(wide["W2"][:, :2], part["W2"])


def test_times_are_told_without_the_peer(monkeypatch, capsys):
    def absent(*_):
        raise ImportError("No module named 'torch'")

    monkeypatch.setattr(growth, "Gromo", absent)
    told = growth.times(1)
    assert set(told) == {"pool", "pool, refit", "projected", "joint"} and all(row["ms"] > 0 for row in told.values())
    assert "gromo: not measured: No module named 'torch'" in capsys.readouterr().err
