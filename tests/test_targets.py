"""Gaussian targets: normal numbers of the size of a teacher's outputs, which no teacher gives."""

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu, study
from sublearn.study.summary import summaries

NET = sl.Feedforward((4, 8, 1), 3, "tanh", bias=("b1",))


def test_draws():
    taught = sl.draw_trials(NET, sl.biases(NET), 5, seed=3, task=2, first=4)
    drawn = sl.draw_trials(NET, sl.biases(NET), 5, seed=3, task=2, first=4, targets="gaussian")
    assert all((getattr(taught, name) == getattr(drawn, name)).all() for name in ("teacher", "student", "x", "mask"))
    size = np.sqrt((taught.y**2).mean(axis=(1, 2)))
    for k in range(5):
        normals = _cpu.normals(3, 5, 4 + k, 2, 0, 3)
        assert np.allclose(drawn.y[k, 0], normals * size[k], rtol=1e-15)
    many = sl.draw_trials(NET.at(50), sl.biases(NET.at(50)), 400, targets="gaussian")
    ratio = (many.y**2).mean(axis=(1, 2)) / (sl.draw_trials(NET.at(50), sl.biases(NET.at(50)), 400).y ** 2).mean(axis=(1, 2))
    assert abs(ratio.mean() - 1) < 0.05  # of 20 000 squares of normal numbers


@pytest.mark.parametrize("activation", ["linear", "tanh", "relu"])
def test_fewer_weights_than_equations_never_match(activation):
    net = sl.Feedforward((3, 4, 2), 3, activation)
    few = sl.match_probability(net, sl.scattered(net, 5), 50, targets="gaussian", starts=2)
    assert (few.unmatched, few.screened, few.quantity) == (50, 50, "existence")
    searched = sl.match_probability(net, sl.scattered(net, 5), 50, targets="gaussian", starts=2, screen=False)
    assert searched.matched == 0
    readout = sl.match_probability(net, sl.only(net, "W2"), 50, targets="gaussian")
    assert readout.matched == 50 if activation != "relu" else readout.matched < 50  # 4 weights a row, 3 equations: relu units may be off
    assert (readout.quantity, readout.screened) == ("existence", 0)


def test_a_dead_teacher_has_targets_without_a_density():
    """Its outputs are 0, and so are targets of their size: W2 = 0 meets them, however many equations there are."""
    net = sl.Feedforward((1, 1, 1), 2, "relu")
    zero = ~sl.draw_trials(net, sl.only(net, "W2"), 100, targets="gaussian").y.any(axis=(1, 2))
    found = sl.match_probability(net, sl.only(net, "W2"), 100, targets="gaussian", keep_trials=True)
    assert 10 < zero.sum() < 40 and (found.verdicts == zero).all()


def test_ranks_are_compared_with_the_number_of_equations():
    net = sl.Recurrent(2, 4, 2, 6)  # kappa is below 12: a teacher's outputs are not all of R^12
    assert sl.required_rank(net) == 12 and sl.required_rank(net, ("B", "D")) < 12
    low = sl.Feedforward((6, 2, 6), 6)
    kappa = sl.required_rank(low)
    assert kappa == 20
    assert sl.match_probability(low, sl.everything(low), 20, targets="gaussian").screened == 20
    assert sl.match_probability(low, sl.everything(low), 20).matched == 20


def test_exact_verdicts_are_those_of_decide():
    found = sl.match_probability(NET, sl.biases(NET), 60, method="exact", targets="gaussian", seed=1, keep_trials=True, starts=5)
    drawn = sl.draw_trials(NET, sl.biases(NET), 60, seed=1, targets="gaussian")
    again = sl.decide(NET, drawn.student, drawn.x, drawn.y, drawn.mask, method="exact", seed=1, gains={}, starts=5)
    assert (found.verdicts == again.match).all() and 5 < found.matched < 40 and found.unmatched > 20
    taught = sl.match_probability(NET, sl.biases(NET), 60, method="exact", seed=1, starts=5)
    assert taught.options != found.options
    with pytest.raises(ValueError, match="other: expected the same options"):
        found.merge(sl.match_probability(NET, sl.biases(NET), 5, method="exact", seed=1, first=60, starts=5))


def test_a_study(tmp_path):
    text = """
    study = {name = "targets", trials = 40, method = "exact", starts = 5}
    strategy = [{kind = "biases"}]
    network = [
      {label = "teacher", NET},
      {label = "gaussian", targets = "gaussian", NET},
    ]
    """
    one = 'kind = "feedforward", widths = [4, 8, 1], samples = [1, 3], activation = "tanh", bias = ["b1"]'
    spec = study.parse_spec(text.replace("NET", one))
    cells = study.cells_of(spec)
    assert [cell.content.get("targets") for cell in cells] == [None, None, "gaussian", "gaussian"]
    assert [cell.task_number for cell in cells[:2]] == [cell.task_number for cell in cells[2:]]  # the same networks
    run = study.run(spec, str(tmp_path / "folder"), threads=1)
    found = summaries(cells, study.Store(run.folder).rows)
    direct = sl.match_probability(cells[3].net, sl.biases(NET), 40, method="exact", targets="gaussian", task=cells[3].task_number, starts=5)
    assert (found[3].matched, found[3].unmatched) == (direct.matched, direct.unmatched) and found[3].required_rank == 3
    assert found[1].compared.trials() == 40 and found[3].compared.trials() == 0  # theory is about teachers
    assert study.verify(run.folder, share=1).errors == [] and study.write_report(run.folder).exists()


@pytest.mark.parametrize("call, text", [
    (lambda: sl.draw_trials(NET, sl.biases(NET), 1, targets="random"), "targets: expected one of teacher, gaussian, got 'random'"),
    (lambda: sl.draw_trials(NET, sl.biases(NET), 1, ("W1",), targets="gaussian"), "shared: expected no groups with targets 'gaussian'"),
    (lambda: study.parse_spec(
        'study = {name = "a"}\nstrategy = [{kind = "everything"}]\n'
        'network = [{kind = "feedforward", widths = [3, 2], samples = 2, targets = "gauss"}]'
    ), "targets: expected one of teacher, gaussian"),
])  # fmt: skip
def test_errors_name_the_argument(call, text):
    with pytest.raises(ValueError, match=text):
        call()
