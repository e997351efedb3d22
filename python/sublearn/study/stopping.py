"""A clean stop: the first signal asks, the second insists."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Iterator
from typing import Any

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")


@contextlib.contextmanager
def stopper(note: Callable[[str], None], asked: threading.Event | None = None) -> Iterator[threading.Event]:
    """An event set by the first SIGINT, SIGTERM, SIGHUP (a terminal that goes) or SIGUSR1 (SLURM's warning); the second raises
    KeyboardInterrupt. Main thread only.

    Left alone: a signal that is ignored (nohup, a shell's background job), and one whose handler is not
    Python's (getsignal gives None), since signal.signal could not put that back. asked: the event, if there is one already.
    """
    asked = threading.Event() if asked is None else asked
    if threading.current_thread() is not threading.main_thread():
        yield asked
        return

    signals: list[int] = []

    def handle(number: int, frame: Any) -> None:
        if signals:
            raise KeyboardInterrupt
        signals.append(number)
        asked.set()
        again = "Ctrl-C again" if number == signal.SIGINT else f"got {signal.Signals(number).name}; a second signal"
        note(f"stopping after the items at hand, everything is kept ({again} stops at once)")

    before = {}
    try:
        for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
            if signal.getsignal(number) not in (None, signal.SIG_IGN):
                before[number] = signal.signal(number, handle)
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
