"""Results in other formats: what is written is read back as it was, by the libraries that are installed."""

import json
import os

import numpy as np
import pandas
import pytest
import xarray

from sublearn import study
from sublearn.cli.main import main
from sublearn.study import exporting

TEXT = """
[study]
name = "exported"
trials = 20
starts = 2
seed = 18446744073709551615
method = ["newton", "exact"]

[[network]]
label = "net ü"
kind = "recurrent"
inputs = 1
hidden = [2, 3]
outputs = 1
steps = 4
shared = ["B", "D"]

[[strategy]]
label = "a, \\"b\\"\\nc"
kind = "scattered"
within = "W"
budgets = ["kappa - 1 .. kappa"]

[[strategy]]
kind = "split"
within = ["W"]
budgets = [[2]]
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("export") / "sublearn-exported"
    assert study.run(study.parse_spec(TEXT), folder).complete
    return folder


def same(read, written):
    """Two pandas tables: the same columns and values; types may be wider, and what is missing may be missing in another way."""
    assert list(read) == list(written) and len(read) == len(written)
    for name in written:
        for ours, theirs in zip(written[name], read[name], strict=True):
            both = [value is None or value is pandas.NA or value != value for value in (ours, theirs)]
            assert both == [True, True] or (not any(both) and ours == theirs), (name, ours, theirs)


def same_data(read, written):
    assert set(read.variables) == set(written.variables) and read.sizes == written.sizes
    assert read.attrs == written.attrs
    for name in written.variables:
        assert read[name].dims == written[name].dims
        np.testing.assert_array_equal(read[name].values.astype(written[name].dtype), written[name].values, str(name))
        assert read[name].attrs == written[name].attrs, name


@pytest.mark.parametrize("to", ["csv", "json", "parquet"])
def test_tables_are_read_back(folder, to, tmp_path):
    if to == "parquet" and not any(map(exporting._installed, exporting.FORMATS[to].needs)):
        pytest.skip("needs pyarrow or fastparquet")
    path = study.export(folder, to, tmp_path / "out")
    written = study.frame(study.load(folder))
    if to == "csv":
        texts = {name: str for name in written if pandas.api.types.is_string_dtype(written[name])}
        read = pandas.read_csv(
            path, dtype=texts | {"seed": "uint64"}, keep_default_na=False, na_values={"required_rank": [""], "split_first": [""]}
        )
    elif to == "json":
        read = pandas.DataFrame(json.loads(path.read_text(encoding="utf-8")))
    else:
        read = pandas.read_parquet(path)
    same(read, written)
    assert read["seed"][0] == 2**64 - 1 and read["strategy"][0] == 'a, "b"\nc' and os.listdir(tmp_path) == ["out"]


@pytest.mark.parametrize("engine", ["scipy", "netcdf4", "h5netcdf"])
def test_netcdf_is_read_back(folder, engine, tmp_path, monkeypatch):
    need = {"scipy": (), "netcdf4": ("netCDF4",), "h5netcdf": ("h5netcdf", "h5py")}[engine]
    for name in need:
        pytest.importorskip(name)
    monkeypatch.setattr(exporting, "_installed", lambda name: name in need)
    path = study.export(folder, "netcdf", tmp_path / "out.nc")
    with xarray.open_dataset(path, engine=engine) as read:
        same_data(read.load(), study.load(folder))
    assert study.grid(read).sizes["hidden"] == 2 if engine != "scipy" else read["control"].dtype == bool


def test_netcdf_of_any_engine_can_be_put_on_a_grid(folder, tmp_path):
    with xarray.open_dataset(study.export(folder, "netcdf", tmp_path / "out.nc")) as read:
        found, own = study.grid(read.load()), study.grid(study.load(folder))
    np.testing.assert_array_equal(found["matched"], own["matched"])
    assert found["strategy"].values.tolist() == own["strategy"].values.tolist()


def test_numbers_beyond_netcdf_3_are_floats(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "_installed", lambda name: False)
    data = study.load(folder)
    data["trials"].values[0] = 2**32
    exporting.write(data, "netcdf", tmp_path / "out.nc")
    with xarray.open_dataset(tmp_path / "out.nc", engine="scipy") as read:
        assert read["trials"].values[0] == 2**32 and read["matched"].dtype == np.int32 and read["seconds"].attrs["units"] == "s"


def test_zarr_is_read_back(folder, tmp_path):
    pytest.importorskip("zarr")
    path = study.export(folder, "zarr", tmp_path / "out.zarr")
    same_data(xarray.open_zarr(path).load(), study.load(folder))
    with pytest.raises(study.DiskError, match="expected a path that is no folder yet"):
        study.export(folder, "zarr", path)


def test_files_are_replaced_when_they_are_whole(folder, tmp_path, monkeypatch):
    path = tmp_path / "out.csv"
    path.write_text("before", encoding="utf-8")

    def fail(data, path):
        path.write_text("half", encoding="utf-8")
        raise OSError("no space left")

    monkeypatch.setitem(exporting.FORMATS, "csv", exporting.FORMATS["csv"]._replace(write=fail))
    with pytest.raises(study.DiskError, match=r"out\.csv: expected a path that can be written, got: no space left"):
        study.export(folder, "csv", path)
    assert path.read_text(encoding="utf-8") == "before" and os.listdir(tmp_path) == ["out.csv"]
    monkeypatch.undo()
    assert study.export(folder, "csv", path).read_text(encoding="utf-8").startswith("cell,network")


def test_what_is_missing_is_named(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(exporting, "_installed", lambda name: False)
    with pytest.raises(ImportError, match=r"parquet: expected pyarrow or fastparquet to be installed.*sublearn\[export\]"):
        study.export(folder, "parquet", tmp_path / "x")
    assert main(["export", str(folder), "--to", "zarr", "--output", str(tmp_path / "x")]) == 2
    assert "zarr: expected zarr to be installed" in capsys.readouterr().err and not os.listdir(tmp_path)
    with pytest.raises(ValueError, match="to: expected one of csv, parquet, netcdf, zarr, json, got 'xlsx'"):
        study.export(folder, "xlsx")


def test_the_command_writes_into_the_current_directory(folder, monkeypatch, capsys, tmp_path):
    monkeypatch.chdir(tmp_path)
    for to, name in (("csv", "sublearn-exported.csv"), ("json", "sublearn-exported.json"), ("netcdf", "sublearn-exported.nc")):
        assert main(["export", str(folder), "--to", to]) == 0
        assert capsys.readouterr().out == f"{name}\n" and (tmp_path / name).stat().st_size > 500
    assert main(["export", str(tmp_path), "--to", "csv"]) == 2
    assert "expected the folder of a study" in capsys.readouterr().err
    assert main(["export", str(folder), "--to", "csv", "--output", str(tmp_path / "no" / "out.csv")]) == 4
    assert "expected a path that can be written" in capsys.readouterr().err


def test_merged_folders_are_exported_like_one_run(folder, tmp_path):
    spec = study.parse_spec(TEXT)
    parts = [tmp_path / f"part{k}" for k in range(3)]
    for k, part in enumerate(parts):
        study.run(spec, part, shard=(k, 3))
    merged = study.merge(parts, tmp_path / "sublearn-exported")
    one, whole = (json.loads(study.export(each, "json", tmp_path / "out").read_text(encoding="utf-8")) for each in (folder, merged))
    for cell in (*one, *whole):
        for key in ("seconds", "date"):
            del cell[key]
    assert one == whole
