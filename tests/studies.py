"""A study in a process of its own, for tests that stop or kill it."""

import contextlib
import subprocess
import sys
import time

NETWORK = """
[[network]]
label = "rec"
kind = "recurrent"
inputs = 1
hidden = 4
outputs = 1
steps = 5
shared = ["B", "D"]
"""

# a child of a shell's background job is started with SIGINT ignored: then no KeyboardInterrupt would ever come
# (and under nohup SIGHUP is ignored)
_OTHERS = "import signal\nfor other in (signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1): signal.signal(other, signal.SIG_DFL)\n"
LISTENS = f"{_OTHERS}signal.signal(signal.SIGINT, signal.default_int_handler)\n"
# figures are files with a byte, for the time that drawing takes
BLIND = (
    "from sublearn.study.files import write_bytes\nfrom sublearn.study.report import figures\n"
    "figures._write = lambda plan, data, paths: [write_bytes(path, b'x') for path in paths]\n"
)
IGNORES = f"{_OTHERS}signal.signal(signal.SIGINT, signal.SIG_IGN)\n"


@contextlib.contextmanager
def child(code, **options):
    """A Python process that runs `code`, its output as text in pipes; killed at the end if it still runs."""
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    with subprocess.Popen([sys.executable, "-c", code], **(pipes | options)) as process:
        try:
            yield process
        finally:
            process.kill()  # nothing happens to one that has ended


@contextlib.contextmanager
def start(folder, text, name, known=0, signals=LISTENS):
    """`sublearn run` of the study `text`, called `name`, in `folder`: (process, its folder), once that has more than `known` rows."""
    (folder / "slow.toml").write_text(text, encoding="utf-8")
    code = f"{signals}{BLIND}import sys\nfrom sublearn.cli.main import main\nsys.exit(main(['run', 'slow.toml']))"
    made, end = folder / f"sublearn-{name}", time.monotonic() + 60
    with child(code, cwd=folder) as process:
        while time.monotonic() < end and len(rows_in(made)) <= known:
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        yield process, made


def rows_in(folder):
    """The whole lines of rows in a study's folder, in the order of its files, read while they may be written."""
    files = sorted((folder / "rows").glob("*.jsonl"))
    lines = [line for file in files for line in file.read_bytes().splitlines(keepends=True)]
    return [line for line in lines if b'"matched"' in line and line.endswith(b"\n")]
