"""What is made of the rows: results.csv, the Dataset, the pandas table and the grid say the same of each cell."""

import json
import re

import numpy as np
import pandas
import pytest
import xarray

import sublearn as sl
from sublearn import study
from sublearn.study.frames import COLUMN_OF
from sublearn.study.shards import host_of

TEXT = """
[study]
name = "tables"
trials = 40
starts = 2
seed = 18446744073709551615
method = ["newton", "exact"]

[[network]]
label = "rec"
kind = "recurrent"
inputs = 1
hidden = [6, 2, 4]
outputs = 1
steps = [4, 5]
shared = ["B", "D"]

[[network]]
label = "ff"
kind = "feedforward"
widths = [[2, 3, 1], [2, 2, 1]]
samples = 2

[[strategy]]
label = "scattered"
kind = "scattered"
within = "W"
networks = ["rec"]
budgets = ["kappa - 1 .. kappa + 1"]

[[strategy]]
label = "rows"
kind = "rows"
within = "W"
networks = ["rec"]
budgets = ["kappa"]

[[strategy]]
label = "split"
kind = "split"
within = ["W1", "W2"]
networks = ["ff"]
budgets = [[1, 1], [2, 1], [1, 2]]
"""


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """(folder, data) of a study that sweeps networks of two kinds."""
    folder = tmp_path_factory.mktemp("tables") / "sublearn-tables"
    assert study.run(study.parse_spec(TEXT), folder).complete
    return folder, study.load(folder)


def of(data, family):
    return data.isel(cell=data["family"] == family)


def test_swept_parameters_are_coordinates(made):
    data, cells = made[1], study.cells_of(study.parse_spec(TEXT))
    assert data["family"].values.tolist() == [cell.family for cell in cells]
    rec = of(data, "rec")
    assert set(zip(rec["hidden"].values.tolist(), rec["steps"].values.tolist())) == {(n, t) for n in (2, 4, 6) for t in (4, 5)}
    assert rec["parameters"].values[0] == "hidden 6, steps 4" and set(rec["widths"].values.tolist()) == {""}
    ff = of(data, "ff")
    assert np.isnan(ff["hidden"].values).all() and set(ff["widths"].values.tolist()) == {"2-3-1", "2-2-1"}
    assert rec["hidden"].dtype == float and "inputs" not in data.coords  # whole numbers where every network has the key
    assert data["task"].values.tolist() == [cell.task_number for cell in cells]
    assert (data["estimate"] == data["probability"]).all() and set(data["measure"].values.tolist()) == {"matches"}
    assert data["seconds"].attrs["units"] == "s" and {data[name].attrs["units"] for name in ("estimate", "low", "theory_high")} == {"1"}
    assert (data["predicted_minimal"] == data["predicted"].sel(kind="minimal")).all()


def test_an_unswept_network_has_the_keys_that_others_sweep(tmp_path):
    more = '\n[[network]]\nlabel = "one"\nkind = "recurrent"\ninputs = 1\nhidden = 3\noutputs = 1\nsteps = 4\nshared = ["B", "D"]\n'
    spec = study.parse_spec(TEXT.replace('["rec"]', '["rec", "one"]', 1) + more)
    study.run(spec, tmp_path / "s", shard=(0, 10**6))  # a cell or none: a study without rows has a Dataset too
    data = of(study.load(tmp_path / "s"), "one")
    assert data.sizes["cell"] and set(data["hidden"].values.tolist()) == {3} and set(data["parameters"].values.tolist()) == {""}


def test_a_table_has_the_columns_of_the_csv(made):
    folder, data = made
    table, text = study.frame(data), pandas.read_csv(folder / "results.csv", keep_default_na=False)
    assert list(table) == list(text) and table.columns[0] == "cell" and list(table)[-3:] == ["hidden", "steps", "widths"]
    assert len(table) == data.sizes["cell"] == len(text)
    for name in table:
        for ours, theirs in zip(table[name], text[name], strict=True):
            if ours is pandas.NA or ours != ours:
                assert theirs == "", name
            elif isinstance(ours, float):
                assert float(theirs) == pytest.approx(ours, rel=1e-9, abs=5e-4 if name == "seconds" else 1e-12), name
            else:
                assert str(theirs) == str(ours), name
    assert set(COLUMN_OF.values()) <= set(text) and table["seed"].tolist() == [2**64 - 1] * len(table)
    assert table["required_rank"].notna().all() and table["split_first"].isna().any() and table["split_first"].notna().any()


def test_a_part_of_the_cells_makes_a_table(made):
    table = study.frame(of(made[1], "ff"))
    assert len(table) == 14 and table["split_first"].tolist()[:3] == [1, 2, 1]
    with pytest.raises(ValueError, match="data: expected the Dataset of study.load, with dimension cell, got dimensions hidden"):
        study.frame(study.grid(of(made[1], "rec")))
    bare = made[1].copy()
    bare.attrs = {}
    with pytest.raises(ValueError, match="with its attribute seed, got one without"):
        study.frame(bare)


def test_a_grid_has_what_was_swept_as_dimensions(made):
    data = of(made[1], "rec")
    found = study.grid(data)
    assert found["probability"].dims == ("hidden", "steps", "strategy", "budget", "method")
    assert found["hidden"].values.tolist() == [2, 4, 6] and found["strategy"].values.tolist() == ["scattered", "rows"]
    assert found["method"].values.tolist() == ["newton", "exact"] and found["found_after"].dims[-1] == "start"
    asked = 0
    for cell in range(data.sizes["cell"]):
        one = data.isel(cell=cell)
        place = {name: one[name].item() for name in ("hidden", "steps", "strategy", "budget", "method")}
        there = found.sel(place)
        for name in ("trials", "matched", "probability", "low", "theory_high", "seconds"):
            np.testing.assert_array_equal(there[name], one[name])
        assert there["id"] == one["id"] and there["control"] == one["control"] and there["network"] == one["network"]
        np.testing.assert_array_equal(there["predicted"], one["predicted"])
        assert there["required_rank"] == one["required_rank"]
        asked += 1
    assert found["trials"].notnull().sum() == asked < found["trials"].size
    empty = found["trials"].isnull()
    assert found["probability"].where(empty).isnull().all() and set(found["id"].values[empty.values].tolist()) == {""}
    assert found["required_rank"].dims == found["network"].dims == ("hidden", "steps") and found["seconds"].attrs["units"] == "s"
    table = found.drop_dims(["kind", "start"]).to_dataframe()
    assert len(table) == found["trials"].size and table["trials"].notna().sum() == asked and "hidden" in table.index.names


def test_a_cell_that_has_not_run_has_a_place_and_no_rank(tmp_path):
    spec = study.parse_spec(TEXT)
    study.run(spec, tmp_path / "s", shard=(0, 3))
    found = study.grid(of(study.load(tmp_path / "s"), "rec"))
    assert (found["trials"] == 0).any() and (found["required_rank"] > 0).all()
    one = found.sel(hidden=6, steps=5)
    assert int(one["required_rank"]) == sl.required_rank(sl.Recurrent(1, 6, 1, 5), ("B", "D"))
    assert (one["trials"] == 0).any() and np.isnan(one["probability"].values).any()


def test_families_are_a_dimension_where_their_keys_agree(made):
    data = of(made[1], "rec")
    two = xarray.concat([data, data.assign_coords(family=("cell", ["other"] * data.sizes["cell"]))], "cell", data_vars="all")
    found = study.grid(two.assign_attrs(data.attrs))
    assert found["probability"].dims[:3] == ("family", "hidden", "steps") and found["network"].dims == ("family", "hidden", "steps")
    np.testing.assert_array_equal(found["matched"].sel(family="rec"), found["matched"].sel(family="other"))


def test_matches_and_means_are_told_apart(made):
    data = of(made[1], "rec")
    mean = data.assign_coords(measure=("cell", ["loss"] * data.sizes["cell"])).assign(probability=data["probability"] * np.nan)
    found = study.grid(xarray.concat([data, mean], "cell", data_vars="all"))
    assert found["estimate"].dims[-1] == "measure" and found["measure"].values.tolist() == ["matches", "loss"]
    assert found["probability"].sel(measure="loss").isnull().all() and found["estimate"].sel(measure="loss").notnull().any()


def test_what_is_no_grid_says_why(made):
    with pytest.raises(ValueError, match=r"all have the key hidden, which some sweep, got 'ff' without it; choose cells"):
        study.grid(made[1])
    place = "two at widths 2-3-1, strategy split, budget 3, method newton"
    with pytest.raises(ValueError, match=re.escape(f"{place}: arguments W1 2 + W2 1 and arguments W1 1 + W2 2")):
        study.grid(of(made[1], "ff"))
    with pytest.raises(ValueError, match="at least one cell"):
        study.grid(made[1].isel(cell=[]))


def test_rows_say_where_when_and_by_what_they_were_made(made, tmp_path):
    folder = made[0]
    (path,) = (folder / "rows").iterdir()
    assert set(made[1]["host"].values.tolist()) != {""} and set(made[1]["isa"].values.tolist()) != {""}
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    rows = [line for line in lines if "matched" in line]
    for line in rows:
        line |= {"isa": "avx2", "date": "2030-01-02T03:04:05Z", "host": "node-7"}
    first = rows[0]
    first["date"] = "2029-01-02T03:04:05Z"
    for line in [line for line in rows if line["cell"] != first["cell"]]:  # by an earlier version, on the machine that the file names
        del line["host"], line["date"]
    (tmp_path / "s" / "rows").mkdir(parents=True)
    (tmp_path / "s" / "spec.toml").write_text(TEXT, encoding="utf-8")
    written = "".join(json.dumps(line) + "\n" for line in lines)
    (tmp_path / "s" / "rows" / "old.machine-12-0123abcd.jsonl").write_text(written, encoding="utf-8")
    data = study.load(tmp_path / "s")
    cell = data.isel(cell=int(np.flatnonzero(data["id"].values == first["cell"])[0]))
    assert (str(cell["host"].values), str(cell["date"].values), str(cell["isa"].values)) == ("node-7", "2030-01-02T03:04:05Z", "avx2")
    others = data.isel(cell=np.flatnonzero(data["id"].values != first["cell"]))
    assert set(others["host"].values.tolist()) == {"old.machine"} and set(others["date"].values.tolist()) == {""}


@pytest.mark.parametrize(
    "name, host",
    [("a.b-1-0123abcd.jsonl", "a.b"), ("format1-0123456789abcdef.jsonl", None), ("results.jsonl", None), ("a-1-xyz.jsonl", None)],
)
def test_a_file_of_rows_names_its_machine(tmp_path, name, host):
    assert host_of(tmp_path / name) == host


def test_the_same_rows_of_two_machines_are_no_dispute(made, tmp_path):
    """Two copies under names of two machines: the same counts, said to repeat and counted once."""
    (path,) = (made[0] / "rows").iterdir()
    (tmp_path / "s" / "rows").mkdir(parents=True)
    for name in ("one-1-00000000.jsonl", "two-2-00000000.jsonl"):
        (tmp_path / "s" / "rows" / name).write_bytes(path.read_bytes())
    note = study.Store(tmp_path / "s").note
    assert "repeats another row" in note and "other counts" not in note
