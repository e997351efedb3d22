"""What a long-running or embedded process needs: Ctrl-C within a second, the GIL released, threads and forks that do no harm,
a forced instruction set, an import that needs no extra."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import sublearn as sl
from sublearn import _cpu

from tests.studies import LISTENS, child

NET = sl.Recurrent(2, 8, 2, 6)


def run(code, timeout=60, **environment):
    return subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout,
                          env={**os.environ, **environment})


LONG = {
    "fit": "sl.fit(net, np.full((64, net.size), .1), np.ones((64, 6, 2)), np.ones((64, 6, 2)), sl.only(net, 'W'), steps=10**9, lr=1e-9)",
    "newton": "sl.match_probability(net, sl.scattered(net, 9, 'W'), 16384, ('B', 'D'), screen=False, starts=10**6)",
    "rank_mod": "sl.rank_mod(big)",
}


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_returns_within_a_second(name, threads):
    code = f"""
        import sys, time
        import numpy as np, sublearn as sl
        net = sl.Recurrent(2, 8, 2, 6)
        big = np.random.default_rng(0).integers(0, 2**31 - 1, (7000, 7000)) if "{name}" == "rank_mod" else None
        print("ready", flush=True)
        try:
            {LONG[name][:-1]}, threads={threads})
        except KeyboardInterrupt:
            print("interrupted", flush=True)
    """
    with child(LISTENS + textwrap.dedent(code)) as process:
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.7)
        began = time.perf_counter()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
        assert out == "interrupted\n" and process.returncode == 0, err
        assert time.perf_counter() - began < 1.5  # one second, and the interpreter's own exit


def test_the_gil_is_released():
    ticks = []
    stop = threading.Event()

    def tick():
        while not stop.is_set():
            ticks.append(time.perf_counter())
            time.sleep(0.002)

    other = threading.Thread(target=tick)
    other.start()
    began = time.perf_counter()
    sl.match_probability(NET, sl.scattered(NET, 9, "W"), 2000, ("B", "D"), screen=False, starts=60, threads=1)
    ended = time.perf_counter()
    stop.set()
    other.join()
    inside = [t for t in ticks if began < t < ended]
    assert len(inside) > 20 * (ended - began)


def test_calls_from_many_threads_agree():
    student, x, y = (np.random.default_rng(0).standard_normal((40, *s)) * 0.3 for s in ((NET.size,), NET.x_shape, NET.y_shape))
    expected = sl.fit(NET, student, x, y, sl.only(NET, "W"), steps=200).theta
    results = [None] * 6

    def work(k):
        results[k] = sl.fit(NET, student, x, y, sl.only(NET, "W"), steps=200).theta

    workers = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    for r in results:
        np.testing.assert_array_equal(r, expected)


@pytest.mark.parametrize("start", ["spawn", "fork"])
def test_children_work_after_the_parent_has_used_threads(start):
    done = run(f"""
        import multiprocessing as mp
        import numpy as np, sublearn as sl
        def work(k):
            net = sl.Recurrent(2, 4, 2, 3)
            return sl.match_probability(net, sl.scattered(net, 5, "W"), 100, ("B", "D"), seed=k).matched
        if __name__ == "__main__":
            import __main__
            here = work(1)
            if "{start}" == "fork":
                with mp.get_context("fork").Pool(2) as pool:
                    assert pool.map(work, [1, 1]) == [here, here]
            else:
                import concurrent.futures as cf
                # spawn cannot import a function of -c: use a library function instead
                net = sl.Recurrent(2, 4, 2, 3)
                with cf.ProcessPoolExecutor(2, mp_context=mp.get_context("spawn")) as pool:
                    r = pool.submit(sl.match_probability, net, sl.scattered(net, 5, "W"), 100, ("B", "D"), seed=1).result()
                assert r.matched == here
            print("ok")
    """)
    assert done.stdout == "ok\n", done.stderr


@pytest.mark.parametrize("name", _cpu.isas())
def test_forced_isa(name):
    done = run("import sublearn as sl; print(sl._cpu.isa(), sl.backend_of('fit'))", SUBLEARN_ISA=name)
    assert done.stdout.startswith(f"{name} fit: cpu, {name}"), done.stderr


def test_import_needs_no_extra():
    done = run("""
        import sys
        class Block:
            def find_spec(self, name, path=None, target=None):
                if name.split(".")[0] in ("scipy", "matplotlib", "xarray", "rich", "cupy", "torch"):
                    raise ImportError(f"{name} is not installed")
        sys.meta_path.insert(0, Block())
        import sublearn as sl
        net = sl.Recurrent(2, 4, 2, 3)
        print(sl.match_probability(net, sl.scattered(net, 5, "W"), 50, ("B", "D")).trials, sl.predict(net, sl.only(net, "D")).kind)
    """)
    assert done.stdout == "50 maximal\n", done.stderr


def test_import_without_the_metadata_of_an_installation():
    done = run("""
        import importlib.metadata as metadata
        find = metadata.distribution
        def none(name):
            if name == "sublearn":
                raise metadata.PackageNotFoundError(name)
            return find(name)
        metadata.distribution = none
        import sublearn
        from sublearn.study.run import VERSION
        print(sublearn.__version__, VERSION)
    """)
    assert done.stdout == "unknown unknown\n", done.stderr
