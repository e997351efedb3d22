"""Who measures the items: this process, processes of its own, or any executor that is handed in.

An executor is anything with `submit(function, *arguments)` that gives something with `done()` and `result()`: those of concurrent.futures,
loky, mpi4py.futures and submitit, and a dask Client. Processes are spawned, never forked: a fork would inherit the kernels' threads.
"""

from __future__ import annotations

import multiprocessing as mp
import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from typing import Any

from .items import Item

EACH = 2  # items that each worker has in flight: one measured, one waiting
POLL = 0.2  # s between two looks at the clock, at signals and at futures that call nobody back
_WORKERS = ("_max_workers", "num_workers", "max_workers")  # names under which executors keep their number of workers


class Crew:
    """The workers of a run: items go in, finished ones come out.

    workers: how many; threads: those of each. `handed` are the items in flight by number.
    """

    def __init__(self, executor: Any, workers: int, threads: int | None):
        self.executor, self.workers, self.threads = executor, workers, threads
        self.handed: dict[int, tuple[Item, Any]] = {}
        self._ready: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._number = 0
        # dask takes calls of a function with the same arguments for the same call, a second try of an item too
        self._options = {"pure": False} if type(executor).__module__.split(".")[0] == "distributed" else {}

    @property
    def most(self) -> int:
        """How many items may be in flight."""
        return EACH * self.workers if self.workers > 1 else 1

    def submit(self, work: Callable[..., Any], item: Item) -> None:
        """Have work(item, threads) done. BrokenExecutor if nobody is left to do it."""
        number = self._number = self._number + 1
        future = self.executor.submit(work, item, self.threads, **self._options)
        self.handed[number] = (item, future)
        if hasattr(future, "add_done_callback"):
            future.add_done_callback(lambda _: self._ready.put(number))

    def finished(self) -> Iterator[tuple[Item, Any]]:
        """(item, future) of those that have finished; waits a moment for the first one."""
        numbers: list[int] = []
        with suppress(queue.Empty):
            numbers.append(self._ready.get(timeout=POLL))
            while True:
                numbers.append(self._ready.get_nowait())
        numbers += [number for number, (_, future) in self.handed.items() if number not in numbers and future.done()]
        for number in numbers:
            if number in self.handed:
                yield self.handed.pop(number)

    def cancel(self) -> None:
        """Take back what no worker has begun. (dask would also drop the result of what one is doing.)"""
        for number in [number for number, (_, future) in self.handed.items() if isinstance(future, Future) and future.cancel()]:
            del self.handed[number]

    def renew(self) -> bool:
        """Workers in place of dead ones, if that is ours to do."""
        return False


class _Processes(Crew):
    """Processes of this run's own."""

    def __init__(self, workers: int, threads: int | None):
        super().__init__(_pool(workers), workers, threads)

    def submit(self, work: Callable[..., Any], item: Item) -> None:
        with _deaf():  # a process may be started here
            super().submit(work, item)

    def renew(self) -> bool:
        self.executor.shutdown(wait=False, cancel_futures=True)
        self.executor = _pool(self.workers)
        return True


class _OwnThread:
    """An executor of one thread. No interpreter waits for it at its end, so a second Ctrl-C stops at once."""

    def __init__(self) -> None:
        self._calls: queue.SimpleQueue[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]] | None] = queue.SimpleQueue()
        threading.Thread(target=self._body, name="sublearn-item", daemon=True).start()

    def submit(self, work: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_running_or_notify_cancel()
        self._calls.put((future, work, arguments))
        return future

    def close(self) -> None:
        """Have the thread end after what it was given."""
        self._calls.put(None)

    def _body(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work, arguments = call
            try:
                future.set_result(work(*arguments))
            except BaseException as error:  # handed to the main thread as it is
                future.set_exception(error)
            del call, future, arguments  # the next one may be long in coming


@contextmanager
def crew_of(executor: Any | None, workers: int | None, threads: int | None) -> Iterator[Crew]:
    """The crew of a run. Without an executor: `workers` processes that share `threads` threads, or this process. An executor stays open.

    TypeError for something that is no executor.
    """
    if executor is None and (workers is None or workers == 1):
        own = _OwnThread()
        try:
            yield Crew(own, 1, threads)
        finally:
            own.close()
    elif executor is None:
        assert workers is not None
        crew = _Processes(workers, max(1, (threads or cores()) // workers))
        try:
            yield crew
        except BaseException:
            crew.executor.shutdown(wait=False, cancel_futures=True)
            for process in list((crew.executor._processes or {}).values()):
                process.terminate()
            raise
        crew.executor.shutdown()
    else:
        if not callable(getattr(executor, "submit", None)):
            raise TypeError(f"executor: expected something with submit(function, *arguments), got {type(executor).__name__}")
        many = workers or _workers_of(executor)
        here = any(hasattr(executor, name) for name in _WORKERS[:1])  # threads or processes of this machine
        yield Crew(executor, many, threads or (max(1, cores() // many) if here else 1))


@contextmanager
def dask_client(address: str, workers: int | None = None) -> Iterator[Any]:
    """A Client of the dask scheduler at an address, or of a cluster on this machine ("local", with so many processes of one thread).

    ImportError without dask and distributed; OSError if nobody answers.
    """
    from distributed import Client, LocalCluster

    if address != "local":
        with Client(address) as client:
            yield client
        return
    with _deaf():
        cluster = LocalCluster(n_workers=workers or cores(), threads_per_worker=1, dashboard_address=None)
    with cluster, Client(cluster) as client:
        yield client


def _workers_of(executor: Any) -> int:
    if callable(getattr(executor, "nthreads", None)):  # dask: by worker
        return max(1, sum(executor.nthreads().values()))
    for name in _WORKERS:
        if isinstance(number := getattr(executor, name, None), int) and number > 0:
            return number
    return cores()


def cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _pool(workers: int) -> ProcessPoolExecutor:
    return ProcessPoolExecutor(workers, mp_context=mp.get_context("spawn"), initializer=_begin)


def _begin() -> None:
    """In a worker: signals to a whole group of processes are the main one's to answer, and nobody works for one that has gone."""
    for name in ("SIGINT", "SIGHUP", "SIGUSR1"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)

    def watch() -> None:
        parent = mp.parent_process()
        if parent is not None:
            parent.join()
            os._exit(1)

    threading.Thread(target=watch, name="sublearn-parent", daemon=True).start()


@contextmanager
def _deaf() -> Iterator[None]:
    """SIGINT waits meanwhile, here and for good in processes that are started: until they ignore it, it would end them."""
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # it would take the mask off again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


__all__ = ["BrokenExecutor", "Crew", "crew_of"]
