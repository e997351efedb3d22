"""The commands of docs/cluster.md, run as they stand: each block marked sh in a shell, the script of the array as SLURM would start it."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from sublearn import study
from tests.studies import BLIND

PAGE = (Path(__file__).resolve().parent.parent / "docs" / "cluster.md").read_text(encoding="utf-8")
STUDY = """
study = { name = "my-study", trials = 60, starts = 3, control = false }
network = [{ kind = "recurrent", inputs = 2, hidden = 4, outputs = 2, steps = 4, shared = ["B", "D"] }]
strategy = [{ kind = "scattered", within = "W", budgets = [6, 7] }]
"""
PLAIN = re.findall(r"```sh\n(.*?)```", PAGE, re.S)
(SCRIPT,) = re.findall(r"```sh script=part.sh\n(.*?)```", PAGE, re.S)


@pytest.fixture
def shell(tmp_path):
    """run(text, **environment): a text in bash, with the study in its folder and `sublearn` this package's."""
    (tmp_path / "my.toml").write_text(STUDY, encoding="utf-8")
    (tmp_path / "bin").mkdir()
    command = tmp_path / "bin" / "sublearn"
    main = f'{BLIND}import sys\nfrom sublearn.cli.main import main\nif __name__ == "__main__":\n    sys.exit(main())\n'
    (tmp_path / "bin" / "main.py").write_text(main, encoding="utf-8")
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{tmp_path}/bin/main.py" "$@"\n', encoding="utf-8")
    command.chmod(0o755)
    package = os.pathsep.join([str(Path(study.__file__).resolve().parents[2]), *(entry for entry in sys.path if entry)])
    path = os.pathsep.join([str(tmp_path / "bin"), os.environ["PATH"]])

    def run(text, **more):
        environment = {**os.environ, "PATH": path, "PYTHONPATH": package, **more}
        return subprocess.run(["bash", "-ec", text], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)

    return run


def test_the_page_has_blocks_to_run():
    assert len(PLAIN) >= 5 and all("sublearn" in block for block in PLAIN)


def test_the_commands_work_in_their_order(shell, tmp_path):
    for block in PLAIN:
        if "--dask" in block:
            continue
        done = shell(block)
        assert done.returncode == 0, (block, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
    assert (tmp_path / "plan.json").stat().st_size > 100
    assert (tmp_path / "sublearn-my-study" / "report.html").exists()


def test_dask_local_works(shell):
    pytest.importorskip("distributed", reason="the extra dask")
    (block,) = (block for block in PLAIN if "--dask" in block)
    done = shell(block)
    assert done.returncode == 0, done.stderr


def test_the_jobs_of_the_array_do_the_study(shell, tmp_path):
    spec = study.parse_spec(STUDY)
    study.run(spec, tmp_path / "serial")
    for place in range(3):
        done = shell(SCRIPT, SLURM_ARRAY_TASK_ID=str(place), SLURM_JOB_ID="1")
        assert done.returncode == 0, done.stderr
    counted = lambda folder: sorted((row["cell"], row["first"], row["count"], row["matched"]) for row in study.Store(folder).rows)  # noqa: E731
    total = lambda rows: {cell: sum(row[3] for row in rows if row[0] == cell) for cell in {row[0] for row in rows}}  # noqa: E731
    assert total(counted(tmp_path / "sublearn-my-study")) == total(counted(tmp_path / "serial"))
    assert (tmp_path / "sublearn-my-study" / "report.html").exists()  # the last part wrote it


def test_a_job_that_is_warned_of_its_limit_stops_cleanly_and_is_queued_again(shell, tmp_path):
    """SIGUSR1 goes to the script alone, as B: says, which passes it on; `scontrol` is a stand-in that notes how it was called."""
    (tmp_path / "my.toml").write_text(STUDY.replace("trials = 60", "trials = 200000"), encoding="utf-8")
    stand_in = tmp_path / "bin" / "scontrol"
    stand_in.write_text('#!/bin/sh\necho "$@" > called\n', encoding="utf-8")
    stand_in.chmod(0o755)
    (tmp_path / "part.sh").write_text(SCRIPT, encoding="utf-8")
    begun = "while ! ls sublearn-my-study/rows/*.jsonl >/dev/null 2>&1; do sleep 0.1; done"
    warned = f"bash part.sh & job=$!; {begun}; sleep 1; kill -USR1 $job; wait $job"
    done = shell(f"set +e; {warned}; exit $?", SLURM_ARRAY_TASK_ID="0", SLURM_JOB_ID="77")
    assert done.returncode == 130, (done.returncode, done.stderr)
    assert (tmp_path / "called").read_text().split() == ["requeue", "77"]
    assert study.Store(tmp_path / "sublearn-my-study").rows
