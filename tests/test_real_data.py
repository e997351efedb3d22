"""Trials on real data: splits of pictures, trajectories, the quantities measured, and studies of them."""

import doctest
import json
import sys

import numpy as np
import pytest

import sublearn as sl
from sublearn import study
from sublearn.data import pictures, systems
from sublearn.data.real_data import RealData
from sublearn.match.methods import check_settings
from sublearn.match.real_data import RealQuestion, reached
from sublearn.study.summary import summaries

SYSTEM = sl.Recurrent(2, 6, 2, 30, activation="tanh", bias=True)
TEXT = """
[study]
name = "real"
trials = 6
method = "descent"
measure = ["loss", "rmse"]
descent = { steps = 20, lr = 0.02 }

[[network]]
label = "vdp"
kind = "recurrent"
inputs = 2
hidden = [4, 6]
outputs = 2
steps = 30
activation = "tanh"
bias = true
system = "vdp"
gains = { W = 0.5, c = 0 }

[[strategy]]
label = "biases"
kind = "only"
within = ["b", "c"]

[[strategy]]
label = "some"
kind = "scattered"
within = "W"
budgets = ["50%", 3]
"""


def test_trials_have_the_students_of_D3_and_their_own_trajectories():
    law = RealData.checked(SYSTEM, "vdp", {"W": 0.5, "b": 0.0})
    strategy = sl.scattered(SYSTEM, 5, "W")
    trials = law.draw(strategy, 3, 1, 10, 4)
    drawn = sl.draw_trials(SYSTEM, strategy, 4, seed=3, task=1, first=10, gains={"W": 0.5})
    silent = SYSTEM.slices["b"]
    assert (trials.mask == drawn.mask).all() and not trials.student[:, silent].any()
    rest = np.ones(SYSTEM.size, dtype=bool)
    rest[silent] = False
    assert (trials.student[:, rest] == drawn.student[:, rest].astype(np.float32)).all()
    x = sl.systems.trajectories("vdp", 8, 31, seed=3, task=1, first=20).astype(np.float32)
    assert (trials.x == x[::2, :30]).all() and (trials.y == x[::2, 1:]).all()
    assert (trials.x_test == x[1::2, :30]).all() and (trials.y_test == x[1::2, 1:]).all()
    again = law.draw(strategy, 3, 1, 12, 1)
    assert all((one == two[2:3]).all() for one, two in zip(again[:-1], trials[:-1], strict=True)) and again.which == (3, 1, 12)


def test_several_sequences():
    net = sl.Recurrent(3, 4, 3, 25, activation="relu", samples=2)
    trials = RealData.checked(net, "lorenz").draw(sl.only(net, "W"), 0, 0, 5, 3)
    x = sl.systems.trajectories("lorenz", 4, 26, first=24).astype(np.float32)
    assert trials.x.shape == (3, 2, 25, 3) and (trials.x[1] == x[:2, :25]).all() and (trials.y_test[1] == x[2:, 1:]).all()


def test_quantities_by_hand():
    law, strategy = RealData.checked(SYSTEM, "vdp"), sl.only(SYSTEM, "b", "c")
    how = check_settings("descent", None, False, steps=30, lr=0.01)
    question = RealQuestion(law, strategy, how, 0, 0)
    trials = law.draw(strategy, 0, 0, 0, 5)
    found = sl.fit(SYSTEM, trials.student, trials.x, trials.y, trials.mask, 30, "adam", 0.01, washout=6)
    y = sl.outputs(SYSTEM, found.theta, trials.x_test)
    rmse = np.sqrt(((y - trials.y_test)[:, 6:] ** 2).mean(axis=(1, 2)))
    assert np.allclose(reached(question, "rmse", 0, 5), rmse, rtol=1e-6)
    loss = found.loss / (trials.y[:, 6:] ** 2).sum(axis=(1, 2))
    assert np.allclose(reached(question, "loss", 0, 5), loss, rtol=1e-6)
    assert (reached(question, "rmse", 3, 2) == reached(question, "rmse", 0, 5)[3:]).all()
    with pytest.raises(ValueError, match="quantity: expected loss or rmse or valid_time"):
        reached(question, "accuracy", 0, 1)
    with pytest.raises(ValueError, match="method: expected descent"):
        reached(question._replace(settings=check_settings("newton", None, False)), "loss", 0, 1)


def test_a_network_that_runs_away_has_a_large_error():
    net = sl.Recurrent(2, 1, 2, 30, activation="relu")
    law = RealData.checked(net, "linear")
    theta = np.full((1, net.size), 1e30, dtype=np.float32)
    assert law.tested(theta, law.draw(sl.only(net, "W"), 0, 0, 0, 1), "rmse")[0] == 1e3


def test_valid_time_by_hand():
    net = sl.Recurrent(2, 40, 2, 50, activation="relu", bias=True, samples=3)
    law, strategy = RealData.checked(net, "pendulum", {"W": 0.5}, dt=0.1), sl.readout(net)
    how = check_settings("descent", None, False, steps=300, lr=0.02)
    found = reached(RealQuestion(law, strategy, how, 4, 2), "valid_time", 7, 2)
    trials = law.draw(strategy, 4, 2, 7, 2)
    theta = sl.fit(net, trials.student, trials.x, trials.y, trials.mask, 300, "adam", 0.02, washout=law.washout).theta
    one = sl.Recurrent(2, 40, 2, 50, activation="relu", bias=True)
    for k in range(2):  # the trajectories that test, gone on with
        truth = sl.systems.trajectories("pendulum", 3, 460, 0.1, seed=4, task=2, first=6 * (7 + k) + 3)
        assert (truth[:, :50].astype(np.float32) == trials.x_test[k]).all()
        y = sl.free_run(one, theta[k], truth.astype(np.float32), 60, 400)
        good = np.median(sl.systems.valid_steps(y, truth[:, 60:]))
        assert found[k] == good * 0.1 / sl.systems.SYSTEMS["pendulum"].period and good > 0


def test_a_network_without_input_learns_one_trajectory():
    net = sl.Recurrent(1, 20, 2, 25, activation="relu", bias=True)
    law = RealData.checked(net, "vdp", {"b": 0.5}, driven=False)
    trials = law.draw(sl.biases(net), 2, 0, 3, 2)
    assert not trials.x.any() and law.washout == 0 and law.options == {"driven": False} and law.quantities == ("loss", "rmse")
    assert (trials.y == sl.systems.trajectories("vdp", 2, 25, seed=2, first=3).astype(np.float32)).all()
    how = check_settings("descent", None, False, steps=40, lr=0.01)
    found = reached(RealQuestion(law, sl.biases(net), how, 2, 0), "rmse", 3, 2)
    theta = sl.fit(net, trials.student, trials.x, trials.y, trials.mask, 40, "adam", 0.01).theta
    assert np.allclose(found, np.sqrt(((sl.outputs(net, theta, trials.x) - trials.y) ** 2).mean(axis=(1, 2))), rtol=1e-5)


def test_tasks_of_one_network_have_its_students(tmp_path):
    text = """
    study = {name = "tasks", trials = 2, method = "descent", measure = "accuracy", descent = {steps = 5, loss = "softmax"}}
    strategy = [{kind = "biases"}]
    [[network]]
    kind = "feedforward"
    widths = [64, 8, 10]
    samples = 50
    bias = true
    data = "digits"
    variant = ["plain", "labels", "turned"]
    gains = {b1 = 0, W2 = [1, 10]}
    """
    cells = study.cells_of(study.parse_spec(text))
    assert len(cells) == 6 and len({cell.id for cell in cells}) == 6 and len({cell.task_number for cell in cells}) == 2  # one for each gain
    assert [cell.content["data"].get("variant") for cell in cells] == [None, None, "labels", "labels", "turned", "turned"]
    assert [cell.content["gains"].get("W2") for cell in cells] == [None, 10.0] * 3
    assert cells[1].parameters == {"variant": "plain", "gains.W2": 10.0}


def test_variants_of_the_digits():
    pytest.importorskip("sklearn")
    plain = sl.pictures.digits(100, 1, 2, 3)
    turned, inverted, labels, pixels = (sl.pictures.digits(100, 1, 2, 3, variant) for variant in ("turned", "inverted", "labels", "pixels"))
    assert (turned.x.reshape(8, 8, 100)[0, 2] == plain.x.reshape(8, 8, 100)[2, 7]).all() and (inverted.x == 1 - plain.x).all()
    order = [int(labels.labels[plain.labels == digit][0]) for digit in range(10)]
    assert sorted(order) == list(range(10)) and order != list(range(10)) and (np.array(order)[plain.labels] == labels.labels).all()
    assert (np.array(order)[plain.labels_test] == labels.labels_test).all() and (labels.x == plain.x).all()
    rows = {row.tobytes() for row in np.hstack([plain.x, plain.x_test])}
    assert {row.tobytes() for row in np.hstack([pixels.x, pixels.x_test])} == rows and (pixels.x != plain.x).any()


def test_a_study_of_a_system(tmp_path):
    assert len(study.cells_of(study.parse_spec(TEXT))) == 2 * 2 * 3
    spec = study.parse_spec(TEXT.replace("[4, 6]", "4"))
    cells = study.cells_of(spec)
    assert len(cells) == 2 * 3 and {cell.quantity for cell in cells} == {"loss", "rmse"} and not any(cell.control for cell in cells)
    assert all(cell.content["data"] == {"source": "vdp"} for cell in cells) and cells[0].content["gains"] == {"W": 0.5, "c": 0.0}
    run = study.run(spec, str(tmp_path / "folder"), threads=1)
    found = {cell.id: s for cell, s in zip(cells, summaries(cells, study.Store(run.folder).rows), strict=True)}
    for cell in cells[:4]:
        how = check_settings("descent", None, False, steps=20, optimizer="adam", lr=0.02)
        law = RealData.checked(cell.net, "vdp", {"W": 0.5, "c": 0.0})
        values = reached(RealQuestion(law, cell.strategy, how, 0, cell.task_number), cell.quantity, 0, 6)
        values = np.log10(values) if cell.quantity == "loss" else values
        assert found[cell.id].trials == 6 and found[cell.id].estimate == pytest.approx(values.mean(), abs=1e-5)
        assert found[cell.id].required_rank is None and "descent" in found[cell.id].quantity_text
    assert study.verify(run.folder, share=1).errors == []
    assert "root mean square error of one step" in study.write_report(run.folder).read_text(encoding="utf-8")


def test_cells_without_data_keep_their_content():
    spec = study.parse_spec(TEXT.replace('system = "vdp"\n', "").replace(', "rmse"', "").replace(", c = 0", ""))
    assert not any("data" in cell.content for cell in study.cells_of(spec))


@pytest.mark.parametrize("old, new, text", [
    ('system = "vdp"', 'system = "duffing"', "system: expected one of vdp, lorenz"),
    ('system = "vdp"', 'system = "lorenz"', "3 inputs and outputs for lorenz"),
    ('system = "vdp"', 'data = "digits"', "a feedforward one with 64 inputs and 10 outputs"),
    ('system = "vdp"', 'system = "vdp"\ndata = "digits"', "system: expected no system beside data"),
    ('system = "vdp"', 'system = "vdp"\nshared = ["W"]', "shared: expected nothing shared"),
    ('system = "vdp"', 'system = "vdp"\ndt = -1', "dt: expected a finite number above 0"),
    ('system = "vdp"', 'system = "vdp"\nvariant = "turned"', "variant: expected none with the system vdp"),
    ('system = "vdp"', 'system = "vdp"\ntargets = "gaussian"', "targets: expected no targets beside data or a system"),
    ('system = "vdp"', 'driven = false', "gains.c: expected a positive number"),
    ('gains = { W = 0.5', 'gains = { W = [0.5, "x"]', "gains.W: expected numbers"),
    ('system = "vdp"\n', "", "gains.c: expected a positive number"),
    ("c = 0", "D = 0", "gains.D: expected a positive number"),
    ('measure = ["loss", "rmse"]', 'measure = "matches"', "measure: expected loss or rmse or valid_time, all there is to measure"),
    ('measure = ["loss", "rmse"]', 'measure = ["loss", "accuracy"]', 'measure: expected a network with data = "digits" for accuracy'),
    ('method = "descent"', 'method = ["newton", "descent"]', "expected method descent only with real data"),
    ('"50%"', '"kappa"', "expected numbers or percentages in network"),
])  # fmt: skip
def test_files_that_make_no_sense(old, new, text):
    assert old in TEXT
    with pytest.raises(study.SpecError, match=text):
        study.cells_of(study.parse_spec(TEXT.replace(old, new)))


def test_rows_of_real_data_are_checked(tmp_path):
    run = study.run(study.parse_spec(TEXT.replace("trials = 6", "trials = 2")), str(tmp_path / "folder"), threads=1)
    rows = next((run.folder / "rows").glob("*.jsonl"))
    lines = rows.read_text().splitlines()
    which = next(k for k, line in enumerate(lines) if '"content"' in line)
    bad = json.loads(lines[which])
    bad["content"]["data"] = {"source": "elsewhere"}
    rows.write_text("\n".join([*lines[:which], json.dumps(bad), *lines[which + 1 :]]) + "\n")
    with pytest.raises(study.StoreError, match="content"):
        _ = study.Store(run.folder).rows


# Pictures


def test_splits_of_pictures():
    pytest.importorskip("sklearn")
    split = sl.pictures.digits(1347, seed=2, number=5)
    assert split.x.shape == (64, 1347) and split.x_test.shape == (64, 450) and split.y.shape == (10, 1347)
    assert (split.y.argmax(axis=0) == split.labels).all() and (split.y.sum(axis=0) == 1).all() and 0 <= split.x.min() < split.x.max() == 1
    every = np.concatenate([split.x, split.x_test], axis=1)
    whole, labels = pictures._digits()
    order = np.lexsort(every), np.lexsort(whole)
    assert (every[:, order[0]] == whole[:, order[1]]).all() and np.bincount(labels).sum() == 1797
    again, other = sl.pictures.digits(1000, seed=2, number=5), sl.pictures.digits(1347, seed=2, number=6)
    assert (again.x == split.x[:, :1000]).all() and (other.labels != split.labels).any()


def test_accuracy_rises():
    pytest.importorskip("sklearn")
    net = sl.Feedforward((64, 24, 10), samples=200, activation="relu", bias=True)
    law = RealData.checked(net, "digits", {"b1": 0.0, "b2": 0.0})
    question = RealQuestion(law, sl.only(net, "W2", "b2"), check_settings("descent", None, False, steps=1, lr=0.01), 0, 0)
    begin, end = (
        reached(question._replace(settings=check_settings("descent", None, False, steps=n, lr=0.01)), "accuracy", 0, 2) for n in (1, 200)
    )
    assert (begin < 0.5).all() and (end > 0.6).all()


def test_softmax():
    pytest.importorskip("sklearn")
    net = sl.Feedforward((64, 24, 10), samples=100, activation="relu", bias=True)
    law, strategy = RealData.checked(net, "digits", {"b1": 0.0, "b2": 0.0}), sl.only(net, "W2", "b2")
    question = RealQuestion(law, strategy, check_settings("descent", None, False, steps=50, lr=0.01), 0, 0, "softmax")
    trials = law.draw(strategy, 0, 0, 0, 2)
    found = sl.fit(net, trials.student, trials.x, trials.y.argmax(axis=1), trials.mask, 50, loss="softmax")
    assert np.allclose(reached(question, "loss", 0, 2), found.loss / (100 * np.log(10)), rtol=1e-6)
    right = sl.accuracy(net.at(1697), found.theta, trials.x_test, trials.y_test)
    assert (reached(question, "accuracy", 0, 2) == right).all() and (right > 0.4).all()
    with pytest.raises(ValueError, match="loss: expected squared with vdp"):
        reached(question._replace(law=RealData.checked(SYSTEM, "vdp"), strategy=sl.only(SYSTEM, "W")), "loss", 0, 1)


def test_softmax_in_a_study(tmp_path):
    text = """
    study = {name = "soft", trials = 2, method = "descent", measure = ["loss", "accuracy"], descent = {steps = 5, loss = "softmax"}}
    network = [{kind = "feedforward", widths = [64, 8, 10], samples = 50, bias = true, data = "digits", gains = {b1 = 0}}]
    strategy = [{kind = "biases"}]
    """
    cells = study.cells_of(study.parse_spec(text))
    assert [cell.content["options"]["loss"] for cell in cells] == ["softmax"] * 2 and "softmax" in cells[0].quantity_text("loss")
    assert "loss" not in study.cells_of(study.parse_spec(text.replace(', loss = "softmax"', "")))[0].content["options"]
    with pytest.raises(study.SpecError, match="loss: expected squared"):
        study.parse_spec(TEXT.replace("lr = 0.02", 'lr = 0.02, loss = "softmax"'))
    pytest.importorskip("sklearn")
    run = study.run(study.parse_spec(text), str(tmp_path / "folder"), threads=1)
    assert run.complete and study.verify(run.folder, share=1).errors == []


def test_without_the_extra(monkeypatch):
    pictures._digits.cache_clear()
    monkeypatch.setitem(sys.modules, "sklearn.datasets", None)
    with pytest.raises(ImportError, match="sublearn\\[data\\]"):
        sl.pictures.digits()


@pytest.mark.parametrize("call, text", [
    (lambda: sl.pictures.digits(1797), "train: expected a whole number from 1 to 1796"),
    (lambda: RealData.checked(SYSTEM, "mnist"), "data: expected digits or one of the systems"),
    (lambda: RealData.checked(sl.Feedforward((64, 10), 1797), "digits"), "samples: expected at most 1796"),
    (lambda: RealData.checked(sl.Feedforward((64, 10), 5), "digits", dt=0.1), "dt: expected none"),
    (lambda: RealData.checked(sl.Feedforward((64, 10), 5), "digits", variant="upside down"), "variant: expected one of plain, labels"),
    (lambda: RealData.checked(SYSTEM, "vdp", variant="turned"), "variant: expected none with the system vdp"),
    (lambda: RealData.checked(sl.Recurrent(1, 5, 3, 9), "vdp", driven=False), "one with 2 outputs and one sequence"),
    (lambda: sl.pictures.digits(10, variant="labels permuted"), "variant: expected one of plain, labels"),
    (lambda: RealData.checked(SYSTEM, "vdp", {"W": 0.0}), "gains"),
    (lambda: RealData.checked(SYSTEM, "vdp", {"Q": 1.0}), "gains"),
])  # fmt: skip
def test_errors_name_the_argument(call, text):
    with pytest.raises(ValueError, match=text):
        call()


def test_examples_of_these_modules():
    for module in (systems, *([pictures] if "sklearn" in sys.modules or _has_sklearn() else [])):
        names = {"sl": sl, "np": np}
        assert doctest.testmod(module, extraglobs=names).failed == 0


def _has_sklearn():
    import importlib.util

    return importlib.util.find_spec("sklearn") is not None
