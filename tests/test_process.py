"""What a long-running or embedded process needs: Ctrl-C within a second, the GIL released, threads and forks that do no harm,
a forced instruction set, an import that needs no extra."""

import os
import platform
import shutil
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
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout, env={**os.environ, **environment}
    )


LONG = {
    "fit": "sl.fit(net, np.full((64, net.size), .1), np.ones((64, 6, 2)), np.ones((64, 6, 2)), sl.only(net, 'W'), steps=10**9, lr=1e-9)",
    "newton": "sl.match_probability(net, sl.scattered(net, 9, 'W'), 16384, ('B', 'D'), screen=False, starts=10**6)",
    "rank_mod": "sl.rank_mod(big)",
    "activation_patterns": "sl.match_probability(deep, sl.split(deep, {'W1': 16}), 16384, method='exact', starts=1)",
}


@pytest.mark.parametrize("threads", [1, 2])
def test_a_kernel_in_a_daemon_thread_does_not_spoil_the_end_of_the_process(threads):
    code = f"""
        import threading, time
        import numpy as np, sublearn as sl
        net = sl.Recurrent(2, 8, 2, 6)
        threading.Thread(target=lambda: {LONG["fit"][:-1]}, threads={threads}), daemon=True).start()
        time.sleep(0.2)
        print("done", flush=True)
    """
    done = run(code)
    assert (done.returncode, done.stdout, done.stderr) == (0, "done\n", "")


@pytest.mark.parametrize("name", LONG)
@pytest.mark.parametrize("threads", [1, 2])
def test_ctrl_c_returns_within_a_second(name, threads):
    code = f"""
        import sys, time
        import numpy as np, sublearn as sl
        net, deep = sl.Recurrent(2, 8, 2, 6), sl.Feedforward((5, 6, 6, 3), 6, "relu")
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
                if name.split(".")[0] in ("matplotlib", "xarray", "rich", "cupy", "torch"):
                    raise ImportError(f"{name} is not installed")
        sys.meta_path.insert(0, Block())
        import sublearn as sl
        net = sl.Recurrent(2, 4, 2, 3)
        print(sl.match_probability(net, sl.scattered(net, 5, "W"), 50, ("B", "D")).trials, sl.predict(net, sl.only(net, "D")).kind)
    """)
    assert done.stdout == "50 maximal\n", done.stderr


def test_import_is_light():
    done = run("""
        import sys
        import sublearn
        heavy = {"scipy", "matplotlib", "xarray", "pandas", "rich", "cupy", "torch", "jax", "msgspec", "jinja2"}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert done.stdout == "[]\n", done.stderr


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
        print(sublearn.__version__, sublearn.machine()["version"])
    """)
    assert done.stdout == "unknown unknown\n", done.stderr


# The compiled module by itself, as m: without the package and numpy.
ALONE = (
    f"import importlib.util as u; s = u.spec_from_file_location('_cpu', {_cpu.__file__!r}); m = u.module_from_spec(s); "
    "s.loader.exec_module(m)"
)


def threads_available(**variables):
    kept = {name: value for name, value in os.environ.items() if name not in ("SUBLEARN_NUM_THREADS", "OMP_NUM_THREADS")}
    return subprocess.run(
        [sys.executable, "-c", ALONE + "; print(m.threads_available())"], capture_output=True, text=True, env=kept | variables
    )


def test_variables_set_the_default_number_of_threads():
    cores = int(threads_available().stdout)
    assert 1 <= cores <= len(os.sched_getaffinity(0))
    assert threads_available(OMP_NUM_THREADS="1").stdout == "1\n"
    assert threads_available(OMP_NUM_THREADS=" 7, 2").stdout == "7\n"  # of nested regions: the outer one
    assert threads_available(SUBLEARN_NUM_THREADS="5").stdout == "5\n"
    assert threads_available(SUBLEARN_NUM_THREADS="3", OMP_NUM_THREADS="1").stdout == "3\n"
    for nothing in ("", "0", "-2", "many", "1.5", "9" * 30):
        assert int(threads_available(OMP_NUM_THREADS=nothing).stdout) == cores
    assert int(threads_available(SUBLEARN_NUM_THREADS="").stdout) == cores
    for wrong in ("0", "-2", "many", "1.5", "2147483648", "9" * 30):
        failed = threads_available(SUBLEARN_NUM_THREADS=wrong)
        assert f"ValueError: SUBLEARN_NUM_THREADS: expected a whole number from 1 to 2147483647, got '{wrong}'" in failed.stderr
    code = "import sublearn as sl, numpy as np; print(sl.rank_mod(np.ones((9, 2, 2), int), 7, threads=2).sum(), sl.backend_of('rank'))"
    done = run(code, SUBLEARN_NUM_THREADS="1")
    assert done.stdout.startswith("9 rank: cpu") and ", 1 threads" in done.stdout
    assert run(code, SUBLEARN_NUM_THREADS="none").stderr.count("SUBLEARN_NUM_THREADS: expected") >= 1


def groups(folder, lines, mounts, files):
    """Files as in /proc/self and below /sys/fs/cgroup: the quota that they mean, in cores."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    place = str(folder).replace(" ", "\\040")
    (folder / "cgroup").write_text("".join(f"{line}\n" for line in lines))
    (folder / "mountinfo").write_text(
        "22 1 0:21 / /proc rw,nosuid shared:5 - proc proc rw\n"
        + "".join(
            f"{40 + k} 35 0:{30 + k} {root} {place}/{mount} rw,relatime shared:9 - {kind} {kind} rw{options}\n"
            for k, (root, mount, kind, options) in enumerate(mounts)
        )
    )
    return _cpu.quota_cores(str(folder / "cgroup"), str(folder / "mountinfo"))


V1 = [("/", "memory", "cgroup", ",memory"), ("/", "cpu,cpuacct", "cgroup", ",cpu,cpuacct"), ("/", "cpuset", "cgroup", ",cpuset")]
V2 = [("/", "unified", "cgroup2", "")]
QUOTAS = {  # lines of cgroup, mounts, files, cores
    "v2": (["0::/a/b"], V2, {"unified/a/b/cpu.max": "50000 100000"}, 0.5),
    "v2 of a parent": (["0::/a/b"], V2, {"unified/a/cpu.max": "300000 200000", "unified/a/b/cpu.max": "max 100000"}, 1.5),
    "v2 the least": (["0::/a/b"], V2, {"unified/a/cpu.max": "150000 100000", "unified/a/b/cpu.max": "700000 100000"}, 1.5),
    "v2 in its namespace": (["0::/"], V2, {"unified/cpu.max": "250000 100000"}, 2.5),
    "v2 none": (["0::/a"], V2, {"unified/a/cpu.max": "max 100000"}, float("inf")),
    "v2 without the controller": (["0::/a"], V2, {"unified/a/cgroup.procs": "1"}, float("inf")),
    "v1": (["4:memory:/x", "3:cpu,cpuacct:/a b", "1:cpuset:/y"], V1,
           {"cpu,cpuacct/a b/cpu.cfs_quota_us": "50000", "cpu,cpuacct/a b/cpu.cfs_period_us": "100000"}, 0.5),
    "v1 none": (["3:cpu,cpuacct:/a"], V1,
                {"cpu,cpuacct/a/cpu.cfs_quota_us": "-1", "cpu,cpuacct/a/cpu.cfs_period_us": "100000"}, float("inf")),
    "v1 in a container": (["3:cpu,cpuacct:/docker/1f"], [("/docker/1f", "cpu", "cgroup", ",cpuacct,cpu")],
                          {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
    "v1 below a container": (["3:cpu:/docker/1f/job"], [("/docker/1f", "cpu", "cgroup", ",cpu")],
                             {"cpu/job/cpu.cfs_quota_us": "300000", "cpu/job/cpu.cfs_period_us": "100000"}, 3.0),
    "seen from elsewhere": (["0::/../1f"], V2, {"unified/cpu.max": "100000 100000"}, 1.0),
    "both": (["3:cpu:/a", "0::/a"], [*V2, ("/", "cpu", "cgroup", ",cpu")],
             {"unified/a/cpu.max": "max 100000", "cpu/a/cpu.cfs_quota_us": "120000", "cpu/a/cpu.cfs_period_us": "100000"}, 1.2),
    "nothing mounted": (["0::/a"], [], {}, float("inf")),
    "garbage": (["what", "0::/a"], V2, {"unified/a/cpu.max": "lots of it"}, float("inf")),
}  # fmt: skip


@pytest.mark.parametrize("name", QUOTAS)
def test_the_quota_of_a_container(name, tmp_path):
    lines, mounts, files, cores = QUOTAS[name]
    folder = tmp_path / "with blank"
    folder.mkdir()
    assert groups(folder, lines, mounts, files) == pytest.approx(cores)
    assert _cpu.quota_cores(str(folder / "none"), str(folder / "none")) == float("inf")


def test_a_processor_without_sse42_is_told_at_import():
    """Not by SIGILL in the first kernel. The module asks for itself and before numpy, which needs as much."""
    if not shutil.which("qemu-x86_64") or platform.machine() != "x86_64":
        pytest.skip("needs qemu-x86_64 (qemu-user)")

    def emulate(cpu, code):
        return subprocess.run(["qemu-x86_64", "-cpu", cpu, sys.executable, "-c", code], capture_output=True, text=True)

    for cpu in ("qemu64", "Conroe", "Penryn"):
        done = emulate(cpu, "import sublearn")
        assert done.returncode == 1 and "ImportError: sublearn needs a processor with SSE4.2" in done.stderr, done.stderr
    done = emulate("Nehalem", ALONE + "; print(m.isas())")
    assert done.stdout == "['base']\n", done.stderr


def test_memory_of_fit_and_outputs_grows_with_the_number_of_steps_only():
    """With the tables of a Jacobian it would grow with its square: 2 GB here."""
    code = """
        import resource, numpy as np, sublearn as sl
        peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        net = sl.Recurrent(2, 64, 2, 600, "ACTIVATION")
        theta, x, y = (np.full((8, *shape), 0.01) for shape in ((net.size,), net.x_shape, net.y_shape))
        sl.fit(sl.Recurrent(2, 64, 2, 2, "ACTIVATION"), theta, x[:, :2], y[:, :2], np.ones(net.size, bool), steps=1)
        before = peak()
        sl.outputs(net, theta, x, threads=1)
        sl.fit(net, theta, x, y, np.ones(net.size, bool), steps=1, threads=1)
        print(peak() - before)
    """
    for activation in ("tanh", "relu"):
        done = run(code.replace("ACTIVATION", activation))
        assert float(done.stdout) < 64, done.stderr  # MB; the tables that are needed take 5
