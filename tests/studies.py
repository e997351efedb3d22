"""A study in a process of its own, for tests that stop or kill it."""

import subprocess
import sys
import time


def start(folder, text, name, known=0):
    """`sublearn run` of the study `text`, called `name`, in `folder`: (process, path of its rows), once it has more than `known` rows."""
    (folder / "slow.toml").write_text(text, encoding="utf-8")
    process = subprocess.Popen(
        [sys.executable, "-m", "sublearn.cli", "run", "slow.toml"],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    path, end = folder / f"sublearn-{name}" / "results.jsonl", time.monotonic() + 60
    while time.monotonic() < end and (not path.exists() or path.read_bytes().count(b"\n") <= known):
        time.sleep(0.02)
    return process, path
