"""Results in the formats of other programs: xarray and pandas write them, and say which library they need for that."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .files import DiskError
from .frames import frame
from .tables import load

if TYPE_CHECKING:
    import xarray


def export(folder: str | Path, to: str, output: str | Path | None = None) -> Path:
    """Write the results of a study folder in another format; returns the path written.

    to: "csv", "parquet" and "json" (a list of records) hold the table of `frame`, a row per cell; "netcdf" and "zarr" the whole Dataset of
    `load`. output: by default <folder's name>.csv, .parquet, .json, .nc or .zarr in the current directory. A file there is
    replaced once the new one is whole; a folder is not.
    netcdf is netCDF-4 with netCDF4 or h5netcdf, else netCDF-3, in which whole numbers have 32 bits and larger ones are floats.
    Errors: ValueError for another format, ImportError that says what to install, StoreError as for `load`, DiskError if it cannot be
    written.

    >>> spec = study.parse_spec('''
    ... study = {name = "last-layer", trials = 64, control = false}
    ... network = [{kind = "feedforward", widths = [3, 4, 2], samples = 3, shared = ["W1"]}]
    ... strategy = [{kind = "only", within = "W2"}]
    ... ''')
    >>> folder = study.run(spec, "sublearn-last-layer").folder
    >>> study.export(folder, "csv").name
    'sublearn-last-layer.csv'
    """
    path = output_path(folder, to, output)
    write(load(folder), to, path)
    return path


def output_path(folder: str | Path, to: str, output: str | Path | None = None) -> Path:
    """Where `export` writes. ValueError for another format, ImportError if a library is missing."""
    if to not in FORMATS:
        raise ValueError(f"to: expected one of {', '.join(FORMATS)}, got {to!r}")
    needs = FORMATS[to].needs
    if needs and not any(_installed(name) for name in needs):
        raise ImportError(f"{to}: expected {' or '.join(needs)} to be installed, got none; install it with: pip install 'sublearn[export]'")
    return Path(f"{Path(folder).resolve().name}.{FORMATS[to].ending}") if output is None else Path(output)


def write(data: xarray.Dataset, to: str, path: Path) -> None:
    """Write the Dataset of `load` in one step: until it is whole nothing has that name. DiskError if it cannot be."""
    if path.is_dir():
        raise DiskError(f"{path}: expected a path that is no folder yet, got a folder; remove it or choose another output")
    part = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.part")
    try:
        FORMATS[to].write(data, part)
        os.replace(part, path)
    except OSError as error:
        raise DiskError(f"{path}: expected a path that can be written, got: {error}") from None
    finally:
        with suppress(OSError):
            shutil.rmtree(part) if part.is_dir() else part.unlink()


def _csv(data: xarray.Dataset, path: Path) -> None:
    frame(data).to_csv(path, index=False)


def _parquet(data: xarray.Dataset, path: Path) -> None:
    frame(data).to_parquet(path, index=False)


def _json(data: xarray.Dataset, path: Path) -> None:
    """Every digit, and null for what is missing."""
    table = frame(data).astype(object)
    records = table.where(table.notna(), None).to_dict("records")
    path.write_text(json.dumps(records, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _netcdf(data: xarray.Dataset, path: Path) -> None:
    if _installed("netCDF4"):
        data.to_netcdf(path, engine="netcdf4")
    elif _installed("h5netcdf") and _installed("h5py"):
        data.to_netcdf(path, engine="h5netcdf")
    else:
        _narrow(data).to_netcdf(path, engine="scipy")


def _narrow(data: xarray.Dataset) -> xarray.Dataset:
    """As netCDF-3 can hold it, which has no whole numbers of 64 bits: those beyond 32 as floats, exact to 2^53."""
    import numpy as np

    data = data.copy()
    for name, variable in data.variables.items():
        if variable.dtype == np.int64:
            small = not variable.size or abs(variable.values).max() < 2**31
            data[name] = data[name].astype(np.int32 if small else np.float64, keep_attrs=True)
    return data


def _zarr(data: xarray.Dataset, path: Path) -> None:
    data.to_zarr(path, mode="w-", zarr_format=2)  # format 3 has no word for texts of one length yet


def _installed(name: str) -> bool:
    return importlib.util.find_spec(name) is not None


class Format(NamedTuple):
    """How files of a format end, which libraries it needs one of, and who writes it."""

    ending: str
    needs: tuple[str, ...]
    write: Callable[[xarray.Dataset, Path], None]


FORMATS = {
    "csv": Format("csv", (), _csv),
    "parquet": Format("parquet", ("pyarrow", "fastparquet"), _parquet),
    "netcdf": Format("nc", (), _netcdf),
    "zarr": Format("zarr", ("zarr",), _zarr),
    "json": Format("json", (), _json),
}
