"""The command line for other programs: --json of every verb that prints, help without a verb, completion of shells."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import sublearn as sl
from sublearn import cli, study
from tests.test_cli import call, spec  # noqa: F401  a fixture


def told(capsys, *arguments):
    """(exit code, what one line of JSON says)."""
    code, out, err = call(capsys, *arguments, "--json")
    assert out.count("\n") == 1 and "Traceback" not in err
    return code, json.loads(out)


def test_a_study_from_plan_to_export(spec, tmp_path, capsys):  # noqa: F811
    folder = tmp_path / "sublearn-tiny"
    at = ("--out", tmp_path)
    code, plan = told(capsys, "plan", spec, *at)
    assert code == 0 and plan["left"] == 80 and len(plan["cells"]) == 2
    code, before = told(capsys, "status", spec, *at)
    assert (code, before["left"], before["complete"], before["failures"]) == (3, 80, False, [])
    assert [cell["cell"] for cell in before["cells"]] == [cell["cell"] for cell in plan["cells"]]
    code, run = told(capsys, "run", spec, *at, "--quiet")
    assert code == 0 and run == {
        "folder": str(folder), "report": str(folder / "report.html"), "complete": True, "left": 0, "left_in_all": 0, "problems": [],
    }  # fmt: skip
    code, after = told(capsys, "status", folder)
    assert (code, after["left"], [cell["done"] for cell in after["cells"]]) == (0, 0, [40, 40])
    assert told(capsys, "report", folder) == (0, {"folder": str(folder), "report": str(folder / "report.html")})
    code, same = told(capsys, "verify", folder, "--share", "1")
    assert code == 0 and same["same"] and same["errors"] == [] and same["rows"] == same["of_rows"] > 0
    file = tmp_path / "table.csv"
    assert told(capsys, "export", folder, "--to", "csv", "--output", file) == (
        0,
        {"folder": str(folder), "format": "csv", "file": str(file)},
    )
    other = tmp_path / "other"
    other.mkdir()
    code, joined = told(capsys, "merge", folder, "--out", other)
    assert code == 0 and joined["complete"] and joined["folder"] == str(other / "sublearn-tiny")
    assert study.load(joined["folder"])["matched"].values.sum() == study.load(folder)["matched"].values.sum()
    code, out, err = call(capsys, "status", folder, "--watch", "--json")
    assert code == 2 and "expected --watch or --json, got both" in err


def test_predictions(spec, capsys):  # noqa: F811
    net = ("predict", "--network", "recurrent 1-4-1, T=5, linear", "--shared", "B,D", "--strategy")
    code, mask = told(capsys, *net, "rows budget=4 within=W")
    found = sl.predict(sl.Recurrent(1, 4, 1, 5), sl.rows(sl.Recurrent(1, 4, 1, 5), 4, "W"), ("B", "D"))
    assert code == 0 and (mask["kind"], mask["reason"], mask["budget"]) == (found.kind, found.reason, 4) and mask["shared"] == ["B", "D"]
    code, drawn = told(capsys, *net, "scattered budget=4 within=W", "--draws", "50")
    assert code == 0 and drawn["draws"] == 50 and 0 <= drawn["lower"] <= drawn["upper"] <= 1 and sum(drawn["kinds"].values()) == 50
    code, cells = told(capsys, "predict", spec, "--draws", "20")
    assert code == 0 and [cell["budget"] for cell in cells] == [5, 6] and {cell["network"] for cell in cells} == {"rec"}


def test_doctor(capsys):
    code, lines = told(capsys, "doctor")
    assert code == 0 and lines["kernels"] == "ok" and lines["sublearn"].startswith(sl.__version__)


def test_help_without_a_verb(capsys):
    code, out, err = call(capsys)
    assert code == 0 and err == "" and out == call(capsys, "--help")[1] and "predict" in out


def test_completion(tmp_path):
    argcomplete = pytest.importorskip("argcomplete", reason="argcomplete is installed by the step of studies in .ci/run")
    assert argcomplete
    environment = os.environ | {"_ARGCOMPLETE": "1", "COMP_LINE": "sublearn sta", "COMP_POINT": "12", "_ARGCOMPLETE_STDOUT_FILENAME": "out"}
    path = os.pathsep.join([str(Path(cli.__file__).parents[2]), *sys.path])
    done = subprocess.run([sys.executable, "-m", "sublearn"], cwd=tmp_path, env=environment | {"PYTHONPATH": path}, timeout=60)
    assert done.returncode == 0 and (tmp_path / "out").read_text().split() == ["status"]
