"""A clean stop: the first signal asks, the second insists; work runs beside the thread that hears them."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any


@contextlib.contextmanager
def stopper(note: Callable[[str], None]) -> Iterator[threading.Event]:
    """An event set by the first SIGINT or SIGTERM; the second raises KeyboardInterrupt. Main thread only.

    Left alone: a signal that is ignored (nohup, a shell's background job), and one whose handler is not
    Python's (getsignal gives None), since signal.signal could not put that back.
    """
    asked = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    def handle(number: int, frame: Any) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()
        note("stopping after the task at hand, everything is kept (Ctrl-C again stops at once)")

    before = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                before[number] = signal.signal(number, handle)
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def in_thread(work: Callable[[], Any], tick: Callable[[], None]) -> Any:
    """work() in a daemon thread; meanwhile tick() every 0.2 s here, where signals arrive."""
    box: dict[str, Any] = {}
    finished = threading.Event()

    def body() -> None:
        try:
            box["value"] = work()
        except BaseException as error:  # handed to the main thread as it is
            box["error"] = error
        finally:
            finished.set()

    threading.Thread(target=body, name="sublearn-task", daemon=True).start()
    while not finished.wait(0.2):
        tick()
    if "error" in box:
        raise box["error"]
    return box["value"]
