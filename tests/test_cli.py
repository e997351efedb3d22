"""The command line: exit codes, what goes to stdout and stderr, Ctrl-C, and life without the study extra."""

import importlib.util
import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import sublearn as sl
from sublearn import study
from sublearn.cli import main as cli
from sublearn.cli.doctor import instruction_set
from sublearn.match.methods import RULES
from sublearn.study import loop
from sublearn.study.summary import summaries
from tests.studies import BLIND, IGNORES, LISTENS, child, rows_in, start

SMALL = """
[study]
name = "tiny"
trials = 40
starts = 2
chunk = 20

[[network]]
label = "rec"
kind = "recurrent"
inputs = 2
hidden = 4
outputs = 2
steps = 4
shared = ["B", "D"]

[[strategy]]
label = "scattered"
kind = "scattered"
within = "W"
budgets = [5, 6]
"""
SLOW = (
    SMALL.replace("trials = 40", "trials = 2000000")
    .replace("starts = 2", "starts = 200")
    .replace("chunk = 20", "chunk = 4000")
    .replace("[5, 6]", "[5]")
)


@pytest.fixture
def spec(tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text(SMALL, encoding="utf-8")
    return path


def call(capsys, *arguments):
    """(exit code, stdout, stderr) of a command line run in this process."""
    try:
        code = cli.main([str(argument) for argument in arguments])
    except SystemExit as error:  # argparse
        code = error.code
    out, err = capsys.readouterr()
    return code, out, err


def test_run_status_report_and_run_again(spec, tmp_path, capsys):
    folder = tmp_path / "sublearn-tiny"
    code, out, err = call(capsys, "status", spec, "--out", tmp_path)
    assert code == 3 and "80 trials left" in out and not folder.exists()
    code, out, err = call(capsys, "run", spec, "--out", tmp_path)
    assert code == 0 and "80 of 80 trials" in err
    lines = out.splitlines()
    assert lines[0] == str(folder / "report.html") and Path(lines[0]).exists()
    assert lines[1].split()[:2] == ["network", "strategy"] and len(lines) == 4
    assert "found probability (newton, 2 starts, relative loss < 1e-20)" in lines[2]
    rows = rows_in(folder)
    code, again, err = call(capsys, "run", spec, "--out", tmp_path)
    assert (code, again, err) == (0, out, "") and rows_in(folder) == rows
    assert call(capsys, "status", folder)[0] == 0
    (folder / "report.html").unlink()
    code, again, err = call(capsys, "report", folder)
    assert (code, again) == (0, out) and (folder / "report.html").exists()
    code, out, err = call(capsys, "plan", spec, "--out", tmp_path)
    assert code == 0 and "nothing left to run" in out


def test_plan_says_cells_trials_and_time_and_writes_nothing(spec, tmp_path, capsys):
    code, out, err = call(capsys, "plan", spec, "--out", tmp_path)
    assert code == 0 and re.search(r"2 cells, 80 trials, 80 left, about .*; folder .*sublearn-tiny", out)
    assert list(tmp_path.iterdir()) == [spec]


def test_the_built_in_study_can_be_planned(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "status")
    assert code == 3 and "deep linear" in out and "shallow relu" in out and not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        (["run", "none.toml"], "none.toml: expected a study file, got no such file"),
        (["plan", "."], "a folder"),
        (["run", "bad.toml"], "bad.toml: study.trials: expected a whole number from 1"),
        (["plan", "late.toml"], "late.toml: strategy[1] ('scattered').budgets: in network 'rec'"),
        (["report", "."], "spec.toml"),
        (["report", "tiny.toml"], "expected a folder with results, got none"),
        (["predict"], "got no --network"),
        (
            ["predict", "tiny.toml", "--network", "recurrent 2-8-2 T=6"],
            "expected a study file or --network, got both",
        ),
        (["predict", "--network", "recurrent 2-8-2 T=6"], "got no --strategy"),
        (
            ["predict", "--network", "8-2", "--strategy", "everything"],
            "--network: expected a network such as",
        ),
        (["predict", "--network", "recurrent 2-8 T=6", "--strategy", "everything"], "inputs-hidden-outputs"),
        (
            ["predict", "--network", "recurrent 2-8-2", "--strategy", "everything"],
            "expected a network such as",
        ),
        (["predict", "--network", "recurrent 2-8-2 linear", "--strategy", "everything"], "missing steps"),
        (["predict", "--network", "recurrent 2-8-2 T=6 gelu", "--strategy", "everything"], "got 'gelu'"),
        (
            ["predict", "--network", "recurrent 2-8-2 T=6", "--strategy", "scattered 10"],
            "expected key=value, got '10'",
        ),
        (["predict", "--network", "recurrent 2-8-2 T=6", "--strategy", "scatter budget=1"], "'scatter'"),
        (
            ["predict", "--network", "recurrent 2-8-2 T=6", "--strategy", "scattered budget=65 within=W"],
            "got 65",
        ),
        (
            [
                "predict",
                "--network",
                "recurrent 2-8-2 T=6",
                "--strategy",
                "scattered budget=6 within=W",
                "--shared",
                "W",
            ],
            "shared groups W",
        ),
        (["run", "--threads", "0"], "expected a whole number >= 1"),
        (["fly"], "invalid choice"),
    ],
)
def test_bad_input_is_exit_code_2_and_one_clear_line(tmp_path, capsys, monkeypatch, arguments, fragment):
    monkeypatch.chdir(tmp_path)
    Path("tiny.toml").write_text(SMALL, encoding="utf-8")
    Path("bad.toml").write_text(SMALL.replace("trials = 40", "trials = -4"), encoding="utf-8")
    Path("late.toml").write_text(SMALL.replace("[5, 6]", "[5, 60]"), encoding="utf-8")
    code, out, err = call(capsys, *arguments)
    assert code == 2 and out == "" and fragment in err and "Traceback" not in err
    assert not list(tmp_path.glob("sublearn-*"))


def test_version_and_module(capsys):
    code, out, err = call(capsys, "--version")
    assert (code, out, err) == (0, f"sublearn {sl.__version__}\n", "")
    done = subprocess.run([sys.executable, "-m", "sublearn", "--version"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, out)


@pytest.mark.parametrize(
    "arguments, fragment",
    [
        (["--seed", "-1"], "argument --seed: expected a whole number from 0 to 18446744073709551615, got '-1'"),
        (["--seed", str(2**64)], "argument --seed: expected a whole number from 0 to"),
        (["--seed", "9" * 5000], "argument --seed: expected a whole number from 0 to"),
        (["--draws", "\u00b2"], "argument --draws: expected a whole number >= 1"),
        (["--draws", "9" * 5000], "argument --draws: expected a whole number >= 1"),
        (["--network", f"recurrent 2-{'9' * 5000}-2, T=3"], "--network: expected a network such as"),
        (["--network", f"recurrent 2-4-2, T={'9' * 5000}"], "--network: expected a network such as"),
        (["--network", "recurrent 2-\u00b2-2, T=3"], "--network: expected a network such as"),
        (["--network", "recurrent 2-4-2, T=3, T=4"], "--network: expected steps once"),
        (["--network", "recurrent 2-4-2, T=3, linear, relu"], "--network: expected activation once"),
        (["--strategy", ""], "--strategy: expected a strategy such as"),
        (["--strategy", " "], "--strategy: expected a strategy such as"),
        (["--strategy", "scattered budget=\u00b2"], "budget: expected a whole number"),
        (["--strategy", f"scattered budget={'9' * 5000}"], "budget: expected a whole number"),
        (["--strategy", "scattered budget=2 budget=3"], "--strategy: expected budget once"),
        (["--strategy", "split W=2 W=3"], "--strategy: expected W once"),
        (["--strategy", "scattered =3"], "--strategy: expected key=value, got '=3'"),
        (["--draws", str(10**9), "--network", "recurrent 2-3000-2, T=3"], "expected a question that fits into memory"),
    ],
)
def test_bad_predictions_are_exit_code_2(capsys, arguments, fragment):
    given = dict(zip(arguments[::2], arguments[1::2]))
    options = {"--network": "recurrent 2-4-2, T=3", "--strategy": "scattered budget=4 within=W"} | given
    code, out, err = call(capsys, "predict", *(part for option in options.items() for part in option))
    assert code == 2 and out == "" and fragment in err and "Traceback" not in err


def test_bad_seeds_of_a_study_are_exit_code_2(spec, capsys):
    assert call(capsys, "predict", spec, "--seed", "-1")[0] == 2


@pytest.mark.parametrize("verb", ["run", "plan", "status", "report"])
def test_a_file_in_the_folders_place_is_exit_code_2(spec, tmp_path, capsys, verb):
    (tmp_path / "f").write_bytes(b"")
    code, out, err = call(capsys, verb, spec, "--out", tmp_path / "f")
    assert code == 2 and out == "" and f"{tmp_path / 'f' / 'sublearn-tiny' / 'results.jsonl'}: expected a file that can be read" in err
    (tmp_path / "sublearn-tiny" / "results.jsonl").mkdir(parents=True)
    code, out, err = call(capsys, verb, spec, "--out", tmp_path)
    assert code == 2 and out == "" and "results.jsonl: expected a file that can be read" in err
    assert call(capsys, verb, "x" * 5000)[0] == call(capsys, verb, "a\0b")[0] == 2


@pytest.mark.parametrize("verb", ["plan", "run", "status", "report", "predict"])
def test_labels_outside_the_terminals_encoding_are_escaped(tmp_path, verb):
    (tmp_path / "s.toml").write_text(SMALL.replace('"rec"', '"r\u00e9seau"'), encoding="utf-8")
    code = f"{BLIND}import sys\nfrom sublearn.cli.main import main\nsys.exit(main(sys.argv[1:]))"

    def run_in_ascii(*arguments):
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        return subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, env=environment, capture_output=True, timeout=60)

    if verb == "report":
        assert run_in_ascii("run", "s.toml").returncode == 0
    done = run_in_ascii(verb, "s.toml")
    assert done.returncode == (3 if verb == "status" else 0) and rb"r\xe9seau" in done.stdout and b"Traceback" not in done.stderr


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
def test_output_that_cannot_be_written_is_one_line(spec, tmp_path):
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-m", "sublearn", "plan", spec]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert done.returncode == 2 and done.stderr.startswith("sublearn: ") and done.stderr.count("\n") == 1


def test_rows_by_older_rules_are_told_and_run_again(spec, tmp_path, capsys, monkeypatch):
    assert call(capsys, "run", spec, "--out", tmp_path)[0] == 0
    monkeypatch.setitem(RULES, "newton", RULES["newton"] + 1)
    told = "set aside 80 trials that older rules judged: 80 of method newton by rules"
    code, out, err = call(capsys, "status", spec, "--out", tmp_path)
    assert code == 3 and "80 trials left" in out and told in err and "`sublearn run` computes anew" in err
    code, out, err = call(capsys, "report", spec, "--out", tmp_path)
    assert code == 2 and told in err
    code, out, err = call(capsys, "plan", spec, "--out", tmp_path)
    assert code == 0 and "80 left" in out
    code, out, err = call(capsys, "run", spec, "--out", tmp_path)
    assert code == 0 and told in err and "80 of 80 trials" in err
    code, out, err = call(capsys, "status", spec, "--out", tmp_path)
    assert code == 0 and "all computed anew since" in err


def test_rows_of_two_studies_can_be_joined(tmp_path, capsys, monkeypatch):
    """As docs/study.md says: parts of one study, run by processes of their own, merged."""
    monkeypatch.chdir(tmp_path)
    second = SMALL[SMALL.index("[[network]]") : SMALL.index("[[strategy]]")].replace('"rec"', '"other"').replace("steps = 4", "steps = 5")
    texts = {"whole": SMALL.replace("[[strategy]]", f"{second}[[strategy]]"), "a": SMALL}
    texts["b"] = texts["whole"].replace(SMALL[SMALL.index("[[network]]") : SMALL.index("[[strategy]]")], "")
    for name, text in texts.items():
        Path(f"{name}.toml").write_text(text.replace('"tiny"', f'"{name}"'), encoding="utf-8")
    for name in ("a", "b"):
        assert call(capsys, "run", f"{name}.toml")[0] == 0
    whole = study.merge(["sublearn-a", "sublearn-b"], "sublearn-whole")
    (whole / "rows" / "again.jsonl").write_bytes(next(Path("sublearn-a/rows").iterdir()).read_bytes())  # by hand, as it were
    code, out, err = call(capsys, "status", "whole.toml")
    assert code == 0 and "counted once" in err and len(study.Store("sublearn-whole").done()) == 4
    rows = rows_in(whole)
    assert call(capsys, "run", "whole.toml")[0] == 0 and rows_in(whole) == rows


def test_damaged_results_are_refused(spec, tmp_path, capsys):
    folder = tmp_path / "sublearn-tiny"
    folder.mkdir()
    (folder / "results.jsonl").write_text("nonsense\n")
    for verb in ("status", "plan"):
        code, out, err = call(capsys, verb, spec, "--out", tmp_path)
        assert code == 2 and "results.jsonl: line 1: expected a JSON object" in err
    code, out, err = call(capsys, "run", spec, "--out", tmp_path)
    assert code == 2 and "line 1" in err  # 3 would say that the same command goes on
    assert (folder / "results.jsonl").read_text() == "nonsense\n"


def test_what_fails_leaves_an_incomplete_study(spec, tmp_path, capsys, monkeypatch):
    def too_large(*_):
        raise MemoryError("too large")

    def full(*_):
        raise study.DiskError("results.jsonl: expected to write 9 bytes, got: No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(loop, "measure", too_large)
        code, out, err = call(capsys, "run", spec, "--out", tmp_path)
    assert code == 3 and out == "" and "MemoryError: too large" in err
    assert "80 trials left; the same command continues" in err
    code, out, err = call(capsys, "status", spec, "--out", tmp_path)
    assert code == 3 and "rec / scattered / 5 / newton: trials 0 to 15 failed: MemoryError: too large" in err
    monkeypatch.setattr(study.Store, "append", full)
    code, out, err = call(capsys, "run", spec, "--out", tmp_path)
    assert code == 4 and out == "" and "No space left on device" in err and "80 trials left; what is written stays" in err
    (tmp_path / "f").mkdir()
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only file system")))
        code, out, err = call(capsys, "run", spec, "--out", tmp_path / "f")
    assert code == 4 and "Read-only file system" in err


def test_predict_a_network_and_strategy(capsys):
    code, out, err = call(
        capsys,
        "predict",
        "--network",
        "recurrent 2-8-2, T=6, linear",
        "--shared",
        "B,D",
        "--strategy",
        "rows budget=9 within=W",
    )
    assert code == 0 and "minimal (T1)" in out and "required rank     10" in out and "# learnable, . frozen, = shared" in out
    code, out, err = call(
        capsys,
        "predict",
        "--network",
        "recurrent 2-8-2 T=6",
        "--shared",
        "B,D",
        "--strategy",
        "per_row rows=2 each=5 within=W",
        "--draws",
        "20",
    )
    assert code == 0 and "at least 1, at most 1 (exact)" in out and "20 maximal" in out
    scattered = ("predict", "--network", "recurrent 2-8-2, T=6, linear", "--shared", "B,D", "--strategy", "scattered budget=10 within=W")
    assert "at least 0, at most 0.99945 (exact)" in call(capsys, *scattered)[1]  # of 1000 masks drawn .999 have full rank
    drawn = call(capsys, "predict", "--network", "feedforward 3-4-2 m=3", "--strategy", "split W1=3 W2=3", "--draws", "100")[1]
    assert "(both bounds estimated: 95 %, from 100 masks drawn)" in drawn and "% of 100 masks drawn" in drawn
    relu = call(capsys, "predict", "--network", "feedforward 3-4-2 m=3 relu", "--strategy", "rows budget=6 within=W1")[1]
    assert relu.count("(the largest found among sampled regions)") == 2
    code, out, err = call(
        capsys,
        "predict",
        "--network",
        "feedforward 3-4-2 m=3 bias b1+b2",
        "--strategy",
        "split W1=3 W2=3",
        "--draws",
        "5",
    )
    assert code == 0 and "b2 0/2" in out
    for text in ("only b1 b2", "block shape=2x3 within=W1", "scattered budget=3 within=W1+b1"):
        assert (
            call(
                capsys,
                "predict",
                "--network",
                "feedforward 3-4-2 m=3 bias",
                "--strategy",
                text,
                "--draws",
                "5",
            )[0]
            == 0
        )
    every = sl.Feedforward((3, 4, 2), samples=3, activation="tanh", bias=("b1",)).describe()
    assert call(capsys, "predict", "--network", every, "--strategy", "everything")[0] == 0


def test_predict_a_study(spec, capsys):
    code, out, err = call(capsys, "predict", spec, "--draws", "50")
    lines = out.splitlines()
    assert code == 0 and len(lines) == 3 and lines[0].split()[:3] == ["network", "strategy", "size"]
    assert "50 minimal" in lines[1] and "bounds" in lines[0] and "exact" in lines[1]


def test_doctor(capsys):
    code, out, err = call(capsys, "doctor")
    from sublearn import _cpu

    assert code == 0 and f"{_cpu.isa()} (compiled and possible here: {', '.join(_cpu.isas())})" in out
    for word in ("sublearn ", "numpy ", "threads ", "extra 'study'", "kernels         ok"):
        assert word in out


def test_doctor_says_when_a_faster_instruction_set_is_not_compiled():
    assert instruction_set("avx2", ["base", "avx2"], ["base", "avx2"]) == "avx2 (compiled and possible here: base, avx2)"
    assert instruction_set("base", ["base"], ["base", "avx2", "avx512"]).endswith(
        "; avx512 would be faster: install sublearn again on this machine (docs/speed.md)"
    )
    assert "faster" not in instruction_set("base", ["base", "avx512"], ["base", "avx2", "avx512"])  # chosen by SUBLEARN_ISA


def test_without_the_extra(spec, tmp_path):
    """A Python in which the libraries of the extra cannot be found: theory still works, a run says what to
    install.
    """
    code = (
        "import sys, importlib.util as u; real = u.find_spec; hidden = ('matplotlib', 'xarray', 'rich', "
        "'jinja2', 'pandas')\n"
        "u.find_spec = lambda name, *a: None if name.split('.')[0] in hidden else real(name, *a)\n"
        "for name in hidden: sys.modules[name] = None\n"
        "from sublearn.cli import main as cli; sys.exit(cli.main(sys.argv[1:]))"
    )

    def bare(*arguments):
        return subprocess.run([sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60)

    for verb in (["run", spec, "--out", tmp_path], ["report", tmp_path]):
        done = bare(*verb)
        assert done.returncode == 2 and done.stdout == ""
        assert (
            "the extra 'study' is missing (matplotlib, xarray, rich, jinja2 not installed)" in done.stderr
            and "pip install 'sublearn[study]'" in done.stderr
        )
    for verb in (["predict", spec, "--draws", "5"], ["doctor"], ["plan", spec, "--out", tmp_path]):
        done = bare(*verb)
        assert done.returncode == 0 and done.stderr == "", done.stderr
    assert bare("status", spec, "--out", tmp_path).returncode == 3


@pytest.mark.slow
def test_the_first_ctrl_c_finishes_the_chunk(tmp_path):
    with start(tmp_path, SLOW, "tiny") as (process, _):
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == ""
    assert "stopping after the items at hand, everything is kept (Ctrl-C again stops at once)" in err
    assert "trials left; the same command continues" in err
    opened = study.Store(tmp_path / "sublearn-tiny")
    assert opened.rows and not opened.note and (opened.folder / "results.csv").exists()


@pytest.mark.slow
def test_the_second_ctrl_c_stops_at_once(tmp_path):
    slow = SLOW.replace("chunk = 4000", "chunk = 4000\nnewton = { iterations = 20000 }")
    with start(tmp_path, slow, "tiny") as (process, folder):
        rows = rows_in(folder)
        time.sleep(0.2)
        process.send_signal(signal.SIGINT)
        time.sleep(0.1)
        began = time.monotonic()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        assert process.returncode == 130 and time.monotonic() - began < 1.5
    assert rows_in(folder)[: len(rows)] == rows and not study.Store(tmp_path / "sublearn-tiny").note


@pytest.mark.slow
def test_two_runs_in_one_folder_are_safe(tmp_path):
    """Each writes a file of its own and sees what the other has; what both have measured counts once."""
    slow = SLOW.replace("trials = 2000000", "trials = 6000").replace("[5]", "[5, 6, 7]").replace("starts = 200", "starts = 20")
    (tmp_path / "slow.toml").write_text(slow, encoding="utf-8")
    code, folder = (
        f"{LISTENS}{BLIND}import sys\nfrom sublearn.cli.main import main\nsys.exit(main(['run', 'slow.toml']))",
        tmp_path / "sublearn-tiny",
    )
    with (
        child(code, cwd=tmp_path) as one,
        child(code, cwd=tmp_path) as other,
    ):  # begun together, so that neither ends before the other starts
        assert [process.wait(timeout=300) for process in (one, other)] == [0, 0], (one.communicate(), other.communicate())
    opened, cells = study.Store(folder), study.cells_of(study.parse_spec(slow))
    assert len(list((folder / "rows").iterdir())) == 2
    found = summaries(cells, opened.rows)
    assert all(summary.trials == 6000 for summary in found)
    alone = study.run(study.parse_spec(slow), tmp_path / "alone").folder
    expected = summaries(cells, study.Store(alone).rows)
    assert [(s.matched, s.undecided, s.found_after) for s in found] == [(s.matched, s.undecided, s.found_after) for s in expected]
    measured = sum(json.loads(line)["count"] for line in rows_in(folder))
    assert measured < 2 * sum(cell.trials for cell in cells)  # they share the work


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGUSR1, signal.SIGHUP])
def test_an_ignored_ctrl_c_stays_ignored_and_other_signals_stop_after_the_item(tmp_path, number):
    """As under nohup, or as a background job of a script; SIGUSR1 as SLURM warns, SIGHUP as a terminal that closes."""
    with start(tmp_path, SLOW, "tiny", signals=IGNORES) as (process, folder):
        rows = len(rows_in(folder))
        for _ in range(3):
            process.send_signal(signal.SIGINT)
            time.sleep(0.05)
        end = time.monotonic() + 60
        while len(rows_in(folder)) < rows + 2 and time.monotonic() < end:
            time.sleep(0.02)
        assert process.poll() is None and len(rows_in(folder)) >= rows + 2
        process.send_signal(number)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and out == "" and "trials left; the same command continues" in err
    opened = study.Store(tmp_path / "sublearn-tiny")
    assert opened.rows and not opened.note and (opened.folder / "results.csv").exists()


# Many


def test_shards_are_merged_and_reported(spec, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, err = call(capsys, "run", spec, "--shard", "0/2", "--out", "a")
    assert code == 0 and out == "a/sublearn-tiny\n" and "this shard is done; 40 trials of the study are left to the others" in err
    assert call(capsys, "run", spec, "--shard", "1/2", "--out", "b", "--quiet")[2].count("this shard is done") == 1
    code, out, err = call(capsys, "merge", "a/sublearn-tiny", "b/sublearn-tiny", "--out", "whole")
    assert code == 0 and re.fullmatch(r"whole/sublearn-tiny: \d+ rows, complete\n", out) and err == ""
    code, out, err = call(capsys, "run", spec, "--out", "whole")
    assert code == 0 and out.startswith("whole/sublearn-tiny/report.html\n") and err == ""
    assert call(capsys, "run", spec)[1].splitlines()[1:] == out.splitlines()[1:]  # the table of a run by one
    # in one folder the last one makes the report
    assert call(capsys, "run", spec, "--shard", "0/2", "--out", "one")[1] == "one/sublearn-tiny\n"
    assert call(capsys, "run", spec, "--shard", "1/2", "--out", "one")[1].startswith("one/sublearn-tiny/report.html\n")
    assert call(capsys, "merge", "none")[0] == 2


@pytest.mark.parametrize("shard", ["2/2", "1", "-1/2", "a/b", "0/0"])
def test_bad_shards_are_exit_code_2(spec, capsys, shard):
    code, out, err = call(capsys, "run", spec, f"--shard={shard}")
    assert code == 2 and "expected i/N with 0 <= i < N" in err


def test_a_run_goes_on_begins_a_new_folder_or_begins_anew(spec, tmp_path, capsys):
    assert call(capsys, "run", spec, "--out", tmp_path)[0] == 0
    spec.write_text(SMALL.replace("[5, 6]", "[6, 7]").replace("trials = 40", "trials = 50\ncontrol = false"))
    code, out, err = call(capsys, "run", spec, "--out", tmp_path)
    told = "the study has changed (trials 40 -> 50, control True -> False): 1 cells go on, 1 are new, 1 no longer asked for"
    assert code == 0 and f"{told} (their rows are kept)" in err
    code, out, err = call(capsys, "run", spec, "--out", tmp_path, "--resume", "new")
    assert code == 0 and out.startswith(str(tmp_path / "sublearn-tiny-2" / "report.html")) and "0 done before" in err
    before = set((tmp_path / "sublearn-tiny" / "rows").iterdir())
    code, out, err = call(capsys, "run", spec, "--out", tmp_path, "--resume", "overwrite")
    assert code == 0 and "0 done before" in err and not before & set((tmp_path / "sublearn-tiny" / "rows").iterdir())


def test_without_dask_the_extra_is_named(spec, capsys, monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == "distributed" else real(name))
    code, out, err = call(capsys, "run", spec, "--dask", "local")
    assert code == 2 and "pip install 'sublearn[dask]'" in err


@pytest.mark.slow
def test_a_terminals_ctrl_c_reaches_workers_that_do_not_listen(tmp_path):
    """The whole group gets it; the workers finish what they are at, and the main process keeps it."""
    (tmp_path / "slow.toml").write_text(SLOW.replace("[5]", "[5, 6]"), encoding="utf-8")
    code = f"{LISTENS}import sys\nfrom sublearn.cli.main import main\n"
    code += "if __name__ == '__main__': sys.exit(main(['run', 'slow.toml', '--workers', '2']))"
    with child(code, cwd=tmp_path, start_new_session=True) as process:
        end = time.monotonic() + 60
        while len(rows_in(tmp_path / "sublearn-tiny")) < 2 and time.monotonic() < end:
            time.sleep(0.02)
        os.killpg(process.pid, signal.SIGINT)
        out, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "trials left; the same command continues" in err and "Traceback" not in err
    opened = study.Store(tmp_path / "sublearn-tiny")
    assert len(opened.rows) >= 2 and not opened.failures and not opened.note
