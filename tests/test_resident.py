"""Trials that stay on a GPU, run by the emulator; on GPUs: test_cuda.py."""

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend.compiled import cuda_module
from sublearn.match import gpu_pipeline
from tests import resident_checks as checks
from tests.cases import NETWORKS, names

pytest.importorskip("sublearn._cuda_emulated", reason="built only with SUBLEARN_CUDA=EMULATE")


pytestmark = pytest.mark.usefixtures("emulated")


@pytest.mark.parametrize("question", checks.QUESTIONS, ids=checks.name)
def test_verdicts(question):
    checks.agree_with_the_cpu(question, 70 if question[3] == "newton" else 20)


def test_every_class_occurs():
    got = checks.agree_with_the_cpu(checks.QUESTIONS[5], 300)
    assert min(got.screened, got.solved_affine, got.matched, got.undecided) > 0


@pytest.mark.parametrize("net", NETWORKS, ids=names)
def test_screen(net):
    most = min(net.size, net.equations)
    budgets = sorted({1, 2, max(1, most // 2), most})
    assert checks.screened_as_on_the_cpu(net, budgets, 60) <= {0, 1, 2}


def test_every_class_is_screened():
    seen = set.union(*(checks.screened_as_on_the_cpu(net, [net.equations], 40) for net in (NETWORKS[0], NETWORKS[9], NETWORKS[1])))
    assert seen == {0, 1, 2}


def test_chunks_overlap(monkeypatch):
    checks.chunks_overlap(monkeypatch, checks.QUESTIONS[0], 110, 24)


@pytest.mark.parametrize("number, allowed", [(0, 60_000), (1, 60_000), (3, 40_000), (5, 60_000)])
def test_memory(monkeypatch, number, allowed):
    checks.memory_is_planned(monkeypatch, checks.QUESTIONS[number], 60, allowed)


@pytest.mark.parametrize("number", [0, 3, 5, 10, 11])
def test_planned_memory_suffices(monkeypatch, number):
    """A GPU with so little memory that 300 trials must be split: the plan holds with the kernels' own workspace, and all comes back."""
    module, question = cuda_module()[0], checks.QUESTIONS[number]
    whole, free = checks.ask(question, 300, "cuda"), module.device_info(0)["free_bytes"]
    monkeypatch.setenv("SUBLEARN_EMULATED_MEMORY", "300000")
    calls = []
    inner = gpu_pipeline._ChunkInFlight.launch
    monkeypatch.setattr(gpu_pipeline._ChunkInFlight, "launch", lambda chunk, *a: calls.append(a) or inner(chunk, *a))
    parts = checks.ask(question, 300, "cuda")
    np.testing.assert_array_equal(parts.verdicts, whole.verdicts)
    assert len(calls) > 2 and module.device_info(0)["free_bytes"] == 300000
    monkeypatch.delenv("SUBLEARN_EMULATED_MEMORY")
    assert module.device_info(0)["free_bytes"] == free


def test_what_needs_no_gpu(monkeypatch):
    """Fewer weights than the required rank, or one mask of too low a rank: no kernel runs. Affine allocations are solved, not searched."""
    module = cuda_module()[0]
    monkeypatch.setattr(module, "newton", None)
    monkeypatch.setattr(module, "fit", None)
    net = checks.SMALL
    few = sl.match_probability(net, sl.scattered(net, 9, "W"), 50, ("B", "D"), backend="cuda")
    low = sl.match_probability(net, sl.rows(net, 12, "W"), 50, ("D",), backend="cuda")
    solved = sl.match_probability(net, sl.scattered(net, 6, "B"), 20, ("W", "D"), "descent", backend="cuda", screen=False)
    assert few.unmatched == few.screened == low.unmatched == low.screened == 50 and few.backend == "cuda"
    assert solved.unmatched + solved.matched == solved.solved_affine == 20


def test_what_a_linear_solve_leaves_open_is_searched(monkeypatch):
    """As its own trial: the same answer as from `decide_drawn`, which tries the solve once more."""
    question, asked = (*checks.QUESTIONS[5][:3], "descent", {"steps": 5}), []
    want, inner = checks.ask(question, 200, "cuda"), gpu_pipeline.decide_drawn
    monkeypatch.setattr(gpu_pipeline, "solve_affine", lambda *a: np.full(len(a[1].theta), -1, np.int8))
    monkeypatch.setattr(gpu_pipeline, "decide_drawn", lambda trial, *a, **how: asked.append(trial.first) or inner(trial, *a, **how))
    got = checks.ask(question, 200, "cuda")
    assert len(asked) == want.solved_affine > 0 and all(70 <= trial < 270 for trial in asked)
    np.testing.assert_array_equal(got.verdicts, want.verdicts)


def test_linear_systems_need_no_cpu_where_they_have_a_solution(monkeypatch):
    fetched, inner = [], gpu_pipeline.solve_affine
    monkeypatch.setattr(gpu_pipeline, "solve_affine", lambda *a: fetched.append(len(a[1].theta)) or inner(*a))
    solvable, few = (checks.ask(checks.QUESTIONS[-k], 100, "cuda") for k in (4, 3))
    assert solvable.matched == solvable.solved_affine == 100 and not fetched[:-1]
    assert few.solved_affine == 100 and 0 < few.unmatched == fetched[-1] and few.matched > 0


def test_bad_options_are_named():
    net = checks.SMALL
    for options, error, text in (
        ({"iterations": 0}, ValueError, "iterations"),
        ({"colour": 1}, TypeError, "colour"),
        ({"method": "descent", "optimizer": "lbfgs"}, ValueError, "optimizer: expected one of sgd"),
        ({"method": "descent", "lr": -1.0}, ValueError, "lr: expected a finite number above 0"),
    ):
        with pytest.raises(error, match=text):
            sl.match_probability(net, sl.scattered(net, 12, "W"), 5, ("B", "D"), backend="cuda", **options)


def test_a_failure_leaves_the_next_call_whole(monkeypatch):
    module, question = cuda_module()[0], checks.QUESTIONS[0]
    want, free = checks.ask(question, 40, "cuda"), module.device_info(0)["free_bytes"]
    with monkeypatch.context() as patched:
        patched.setattr(module, "newton", lambda *a: (_ for _ in ()).throw(RuntimeError("planted")))
        with pytest.raises(RuntimeError, match="planted"):
            checks.ask(question, 40, "cuda")
    assert module.device_info(0)["free_bytes"] == free
    np.testing.assert_array_equal(checks.ask(question, 40, "cuda").verdicts, want.verdicts)
