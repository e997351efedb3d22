"""What must hold of trials that stay on a GPU (`match/gpu_pipeline.py`), in the emulator (test_resident.py) and on a GPU (test_cuda.py)."""

from __future__ import annotations

import numpy as np
import pytest

import sublearn as sl
from sublearn.backend.compiled import cuda_module
from sublearn.match import gpu_pipeline
from sublearn.model.layers import plain
from sublearn.ops.arguments import index_rows
from sublearn.ranks.affine import affine
from sublearn.ranks.generic_rank import attained_ranks, point, required_rank

SMALL = sl.Recurrent(2, 4, 2, 6)
TWO, THREE = sl.Recurrent(1, 4, 1, 3), sl.Feedforward((3, 4, 2), 3)
QUESTIONS = [  # net, strategy, shared, method, options: trials of every class, own masks and one for all
    (SMALL, sl.scattered(SMALL, 12, "W"), ("B", "D"), "newton", {"starts": 4}),
    (SMALL, sl.rows(SMALL, 11, "W"), ("B", "D"), "newton", {"starts": 3}),
    (SMALL, sl.scattered(SMALL, 9, "W"), ("B", "D"), "newton", {"starts": 2, "screen": False}),
    (SMALL, sl.scattered(SMALL, 12, "W"), ("B", "D"), "descent", {"steps": 300, "tol": 1e-2}),
    (TWO, sl.scattered(TWO, 4), (), "newton", {"starts": 3, "gains": {"W": 1.3}}),
    (THREE, sl.scattered(THREE, 7), (), "newton", {"starts": 3}),
    (THREE, sl.split(THREE, {"W1": 4, "W2": 4}), (), "descent", {"steps": 400, "tol": 1e-3, "lr": 0.03}),
]
QUESTIONS += [
    (net, sl.scattered(net, budget), (), "newton", {"starts": 2})
    for net, budget in (
        (sl.Feedforward((3, 4, 2), 3, activation="relu"), 3),
        (sl.Recurrent(2, 5, 2, 3, activation="tanh", bias=True), 9),
        (sl.Recurrent(2, 3, 2, 1, bias=("c",)), 7),
    )
]
RELU, TANH = sl.Feedforward((3, 4, 2), 3, activation="relu"), sl.Feedforward((3, 6, 2), 4, activation="tanh")
QUESTIONS += [  # linear systems only: own masks and one for all, always solvable or not
    (THREE, sl.scattered(THREE, 7, "W2"), (), "newton", {"starts": 2}),
    (TANH, sl.even_rows(TANH, 4, "W2"), (), "newton", {"starts": 2}),
    (RELU, sl.scattered(RELU, 6, "W2"), (), "newton", {"starts": 2}),
    (RELU, sl.only(RELU, "W2"), (), "newton", {"starts": 1}),
    (SMALL, sl.rows(SMALL, 5, "D"), ("B", "W"), "newton", {"starts": 2, "screen": False}),
]


def name(question) -> str:
    return f"{question[0].describe()} {question[1].name} {question[3]}".replace(" ", "_")


def ask(question, trials, backend, **how):
    net, strategy, shared, method, options = question
    return sl.match_probability(
        net, strategy, trials, shared, method, seed=5, task=2, first=70, keep_trials=True, backend=backend, **options, **how
    )


def agree_with_the_cpu(question, trials):
    want, got = ask(question, trials, "cpu"), ask(question, trials, "cuda")
    np.testing.assert_array_equal(got.masks, want.masks)
    flips = int((got.verdicts != want.verdicts).sum())
    assert flips <= 1 + trials // 50, f"{flips} of {trials} verdicts differ from the CPU's"
    assert (got.screened, got.trials, got.certified) == (want.screened, trials, want.certified)
    assert abs(got.solved_affine - want.solved_affine) <= flips
    assert np.abs(got.found_after - want.found_after).max() <= 2 * (1 + trials // 50) and got.found_after[-1] == got.matched
    return got


def screened_as_on_the_cpu(net, budgets, batch):
    """Indices, T1 and T2 of every mask, with masks inside one group, inside two, and anywhere."""
    module, rng = cuda_module()[0], np.random.default_rng(4)
    put = lambda a: _upload(module, a)  # noqa: E731
    groups = list(net.slices.values())
    seen = set()
    for budget in budgets:
        masks = np.zeros((batch, net.size), dtype=bool)
        for k, row in enumerate(masks):
            inside = [rng.choice(len(groups), size=min(k % 3, len(groups)), replace=False), range(len(groups))][k % 3 == 0]
            flat = np.concatenate([np.arange(net.size)[groups[g]] for g in inside])
            row[rng.choice(flat if len(flat) >= budget else net.size, budget, replace=False)] = True
        required = 0 if net.activation == "relu" else required_rank(net)
        points = [point(plain(net), k) for k in range(2)] if required else []
        J = np.array([J[:, :-1] for J, _ in points], np.int64).reshape(len(points), net.equations, net.size)
        tables = gpu_pipeline.affine_tables(net)
        indices, classes = module.Array([batch, budget], np.dtype(np.intc)), module.Array([batch], np.dtype(np.int8))
        module.screen(
            put(masks), put(J), [p for _, p in points], required, put(tables["inside"]), put(tables["outside"]), 7, indices, classes
        )
        np.testing.assert_array_equal(indices.numpy(), index_rows(masks))
        low = attained_ranks(net, masks) < required if required else np.zeros(batch, bool)
        want = np.where(low, module.NO, np.where(affine(net, masks), module.AFFINE, module.SEARCHED))
        np.testing.assert_array_equal(classes.numpy(), want)
        seen |= set(want.tolist())
    return seen


def _upload(module, array):
    out = module.Array(list(array.shape), array.dtype)
    out.upload(np.ascontiguousarray(array))
    return out


def chunks_overlap(monkeypatch, question, trials, chunk):
    """Two chunks are launched before the first is waited for, and one is always under way; the counts are those of one chunk."""
    whole, log = ask(question, trials, "cuda"), []
    inner = {name: getattr(gpu_pipeline._ChunkInFlight, name) for name in ("launch", "collect")}
    for name, method in inner.items():
        monkeypatch.setattr(
            gpu_pipeline._ChunkInFlight, name, lambda chunk, *a, name=name, method=method: log.append(name) or method(chunk, *a)
        )
    monkeypatch.setattr(gpu_pipeline, "TRIALS_AT_ONCE", chunk)
    parts = ask(question, trials, "cuda")
    np.testing.assert_array_equal(parts.verdicts, whole.verdicts)
    np.testing.assert_array_equal(parts.masks, whole.masks)
    np.testing.assert_array_equal(parts.found_after, whole.found_after)
    count = -(-trials // chunk)
    assert log == ["launch", "launch"] + ["collect", "launch"] * (count - 2) + ["collect", "collect"]


def memory_is_planned(monkeypatch, question, trials, allowed):
    """The arrays of both chunks stay below the bytes allowed; below the bytes of one trial there is an error with the numbers."""
    module, taken, whole = cuda_module()[0], [], ask(question, trials, "cuda")
    inner = module.Array

    def counted(*arguments):
        out = inner(*arguments)
        taken.append(out.nbytes)
        return out

    monkeypatch.setattr(module, "Array", counted)
    monkeypatch.setenv("SUBLEARN_CUDA_MEMORY", str(allowed))
    np.testing.assert_array_equal(ask(question, trials, "cuda").verdicts, whole.verdicts)
    assert 0.3 * allowed < sum(taken) <= allowed  # the rest: matrices to be ranked, rounding to whole trials
    monkeypatch.setenv("SUBLEARN_CUDA_MEMORY", "100")
    text = r"match_probability: one student needs \d+ bytes of device memory beside \d+ for the call; \d+ are free"
    with pytest.raises(MemoryError, match=text):
        ask(question, trials, "cuda")
