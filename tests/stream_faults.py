"""Wrong uses of streams, planted one by one in the emulated GPU: `python -m tests.stream_faults`, in a process of its own, since the
emulator reads SUBLEARN_EMULATED_STREAMS once. Prints, as JSON, whether the numbers were right with the fault and without."""

import ctypes
import json
import os
from contextlib import nullcontext
from unittest import mock

import numpy as np

import sublearn as sl
from sublearn.backend.compiled import cuda_module
from sublearn.match import gpu_pipeline
from tests import fake_libraries
from tests.cases import students

NET = sl.Feedforward((3, 3, 3), 4)  # what comes out fits where x goes in


class Pooled(fake_libraries.DlpackOnly):
    """Its library gives the memory to others as soon as the export has ended."""

    def _end(self, held):
        self.of_numpy[...] = np.nan
        super()._end(held)


def lent_memory(fault):
    """Inputs whose owner takes them back before the kernel ran. The fault: they are not kept until an event after it."""
    module, (theta, x, _) = cuda_module()[0], students(NET, 5)
    want = sl.outputs(NET, theta, x)
    module.pretend(passed=fault)
    y = sl.outputs(NET, Pooled(theta.copy()), Pooled(x.copy()))
    module.pretend()
    return np.allclose(y.numpy(), want)


def pinned_source(fault):
    """Pinned memory that is written to after an upload. The fault: the upload does not wait, as for pageable memory."""
    module = cuda_module()[0]
    queue = module.Queue(0)
    source, array = module.pinned([4], np.dtype(np.int32), queue), module.Array([4], np.dtype(np.int32), 0, queue)
    source[:] = 1
    module.pretend(pageable=fault)
    array.upload(source, queue.stream)
    module.pretend()
    source[:] = 2
    return array.numpy(queue.stream).tolist() == [1] * 4


def missing_wait(fault):
    """A call with arrays of two streams. The fault: the stream of the call does not wait for the other."""
    module, (theta, x, _) = cuda_module()[0], students(NET, 5)
    want = sl.outputs(NET, theta, sl.outputs(NET, theta, x))
    between = sl.outputs(NET, fake_libraries.DlpackOnly(theta), fake_libraries.DlpackOnly(x), stream=5)
    weights = module.Array(list(theta.shape), theta.dtype, 0, 6, False)
    weights.upload(theta, 6)
    with mock.patch.object(module, "let_wait", return_value=None) if fault else nullcontext():
        y = sl.outputs(NET, weights, between)
    return np.allclose(y.numpy(y.stream), want)


def read_elsewhere(fault):
    """A result read on the default stream. The fault: the array does not know the stream that writes it."""
    theta, x, _ = students(NET, 5)
    y = sl.outputs(NET, fake_libraries.DlpackOnly(theta), fake_libraries.DlpackOnly(x), stream=5)
    if fault:
        y.stream = -1
    return np.allclose(y.numpy(), sl.outputs(NET, theta, x))


def another_stream(fault):
    """A result handed to a call on another stream. The fault: as `missing_wait`."""
    module, (theta, x, _) = cuda_module()[0], students(NET, 5)
    want = sl.outputs(NET, theta, sl.outputs(NET, theta, x))
    weights = fake_libraries.DlpackOnly(theta)
    between = sl.outputs(NET, weights, fake_libraries.DlpackOnly(x), stream=5)
    with mock.patch.object(module, "let_wait", return_value=None) if fault else nullcontext():
        y = sl.outputs(NET, weights, between, stream=6)
    return np.allclose(y.numpy(y.stream), want)


FAULTS = [lent_memory, pinned_source, missing_wait, another_stream, read_elsewhere]


def nothing_runs_early():
    """Launching trials waits for none of their kernels: no output is there yet."""
    net, seen, launch = sl.Recurrent(2, 4, 2, 6), [], gpu_pipeline._ChunkInFlight.launch

    def look(chunk, first, count):
        launch(chunk, first, count)
        y = chunk._rows["y"]
        seen.append(np.isnan(np.frombuffer((ctypes.c_double * y.shape[1]).from_address(y.data))).all())

    with mock.patch.object(gpu_pipeline._ChunkInFlight, "launch", look):
        sl.match_probability(net, sl.scattered(net, 12, "W"), 20, ("B", "D"), backend="cuda")
    return [bool(s) for s in seen] == [True]


def given_back_memory_is_poisoned():
    """A view of an array that is gone: right until its free runs, NaN from then on."""
    module = cuda_module()[0]
    queue = module.Queue(0)
    array = module.Array([3], np.dtype(float), 0, queue)
    array.upload(np.ones(3), queue.stream)
    view = module.Array.view(array.data, [3], np.dtype(float), 0, None)
    before = view.numpy(queue.stream)
    del array
    return before.tolist() == [1, 1, 1] and bool(np.isnan(view.numpy(queue.stream)).all())


def streams_are_ordered():
    """By their own order and by events alone; a stream that is asked again and again comes to an end."""
    module, right = cuda_module()[0], True
    for waits in (True, False):
        one, two = module.Queue(0), module.Queue(0)
        a, pinned = module.Array([2], np.dtype(float), 0, one), module.pinned([2], np.dtype(float), two)
        for number in (1.0, 2.0, 3.0):
            a.upload(np.full(2, number), one.stream)
        if waits:
            module.let_wait(0, later=two.stream, earlier=one.stream)
        pinned[:] = 0
        a.carry(pinned, two.stream)
        early = pinned.tolist() == [0, 0]
        two.wait()
        right &= early and (pinned.tolist() == [3, 3]) >= waits
    return right


def calls_agree():
    """Ranks, fits and searches as on the CPU, and all memory comes back."""
    module, (theta, x, y) = cuda_module()[0], students(NET, 6)
    mask, net, free = np.ones(NET.size, bool), sl.Recurrent(2, 4, 2, 6), module.free_bytes(0)
    a = np.random.default_rng(0).standard_normal((7, 5, 4))
    right = np.array_equal(sl.rank(a, backend="cuda"), sl.rank(a))
    fits = [sl.fit(NET, theta, x, y, mask, steps=20, backend=backend).theta for backend in ("cuda", "cpu")]
    right &= np.allclose(*fits, rtol=1e-6)
    found = [sl.match_probability(net, sl.scattered(net, 12, "W"), 30, ("B", "D"), backend=backend) for backend in ("cuda", "cpu")]
    right &= found[0].matched == found[1].matched and found[0].backend == "cuda"
    module.finish()
    return bool(right) and module.free_bytes(0) == free


if __name__ == "__main__":
    checks = [calls_agree]
    if os.environ.get("SUBLEARN_EMULATED_STREAMS") == "deferred":
        checks += [given_back_memory_is_poisoned, streams_are_ordered]
        if os.environ.get("SUBLEARN_EMULATED_POOLS") != "0":  # without pools every free waits for the device
            checks.append(nothing_runs_early)
    out = {f.__name__: [bool(f(False)), bool(f(True))] for f in FAULTS}
    print(json.dumps(out | {check.__name__: check() for check in checks}))
