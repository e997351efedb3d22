"""The Dataset of a study on a grid: what was swept as named dimensions, in place of `cell`."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, Any

from .frames import check_cells

if TYPE_CHECKING:
    import numpy as np
    import xarray

OF_A_NETWORK = ("network", "family", "parameters", "activation", "required_rank")  # coordinates that a network has, not each of its cells
MOST_PLACES = 10**8


def grid(data: xarray.Dataset) -> xarray.Dataset:
    """The Dataset of `study.load`, or a part of its cells, with a dimension for each thing that was swept.

    Dimensions: the swept keys of the networks (hidden, steps, ..), strategy, budget, method; before them `family`, if the networks come
    from several tables, after them `measure`, if matches and means were measured. Variables keep their names and further dimensions. Where
    no cell was asked numbers are NaN (whole numbers become floats for that), texts empty and flags False. required_rank, activation and the
    names of a network have its dimensions only.
    Errors: ValueError for two cells in one place, such as two splits of one budget, for networks that lack a key which others sweep, and
    for a grid of more than 10^8 places; the message names them. Choose cells before: `grid(data.isel(cell=data["family"] == "recurrent"))`.

    >>> spec = study.parse_spec('''
    ... study = {name = "sizes", trials = 64, control = false}
    ... network = [{label = "net", kind = "feedforward", widths = [[3, 4, 2], [3, 5, 2]], samples = "2..3"}]
    ... strategy = [{kind = "scattered", within = "W2", budgets = ["kappa", "100%"]}]
    ... ''')
    >>> folder = study.run(spec, "sublearn-sizes").folder
    >>> data = study.grid(study.load(folder))
    >>> data["probability"].dims
    ('widths', 'samples', 'strategy', 'budget', 'method')
    >>> data["required_rank"].sel(widths="3-4-2").values
    array([4., 6.])
    """
    import numpy as np
    import xarray

    check_cells(data)
    if not data.sizes["cell"]:
        raise ValueError("data: expected at least one cell, got none")
    network, axes = _axes(data)
    levels: dict[str, np.ndarray] = {}
    places: list[np.ndarray] = []
    for name in axes:
        values, first, code = np.unique(_values(data[name]), return_index=True, return_inverse=True)
        if values.dtype.kind == "U":  # texts in the order of the study, numbers ascending
            order = np.argsort(first)
            values, code = values[order], np.argsort(order)[code]
        levels[name], places = values, [*places, code]
    shape = tuple(len(values) for values in levels.values())
    if prod(shape) > MOST_PLACES:
        raise ValueError(f"data: expected a grid of at most {MOST_PLACES} places, got {_sizes(levels)}; choose fewer cells")
    place = np.ravel_multi_index(places, shape)
    _check_places(data, axes, place)

    def spread(variable: xarray.DataArray, names: list[str]) -> tuple[tuple[Any, ...], np.ndarray]:
        rest = [name for name in variable.dims if name != "cell"]
        values = _values(variable.transpose("cell", *rest))
        values = values.astype(float) if values.dtype.kind in "iu" else values
        fill = np.nan if values.dtype.kind == "f" else np.zeros((), values.dtype)[()]
        some = tuple(len(levels[name]) for name in names)
        out = np.full((prod(some), *values.shape[1:]), fill, values.dtype)
        where = np.ravel_multi_index([places[axes.index(name)] for name in names], some) if names else np.zeros(len(place), int)
        order = (
            np.argsort(values) if values.ndim == 1 else np.arange(len(values))
        )  # required_rank: -1 of a cell that has not run is no other
        out[where[order]] = values[order]
        return (*names, *rest), out.reshape(*some, *values.shape[1:])

    coords: dict[Any, Any] = dict(levels)
    for key, coordinate in data.coords.items():
        if key not in levels:
            inner = coordinate.dims == ("cell",)
            coords[key] = spread(coordinate, network if key in OF_A_NETWORK else axes) if inner else coordinate
    found = xarray.Dataset({key: spread(variable, axes) for key, variable in data.data_vars.items()}, coords, data.attrs)
    for key in data.variables:
        found[key].attrs |= data[key].attrs
    return found


def _values(variable: xarray.DataArray) -> np.ndarray:
    """Its values, texts as numpy's own (files give them as objects)."""
    values: np.ndarray = variable.values
    return values.astype(str) if values.dtype.kind == "O" else values


def _axes(data: xarray.Dataset) -> tuple[list[str], list[str]]:
    """The dimensions of the networks, and all dimensions."""
    several = len(set(data["family"].values.tolist())) > 1
    texts = dict.fromkeys(data["parameters"].values.tolist())
    keys = list(dict.fromkeys(part.split(" ", 1)[0] for text in texts if text for part in text.split(", ")))
    for key in keys:
        values = _values(data[key])
        lacking = values == "" if values.dtype.kind == "U" else values != values
        if lacking.any():
            name = str(data["family"].values[lacking][0])
            raise ValueError(
                f"data: expected networks that all have the key {key}, which some sweep, got {name!r} without it; "
                f'choose cells, such as data.isel(cell=data["family"] == {name!r})'
            )
    network = [*(["family"] if several else []), *keys]
    measures = ["measure"] if len(set(data["measure"].values.tolist())) > 1 else []
    return network, [*network, "strategy", "budget", "method", *measures]


def _check_places(data: xarray.Dataset, axes: list[str], place: np.ndarray) -> None:
    import numpy as np

    order = np.argsort(place, kind="stable")
    twice = np.flatnonzero(np.diff(place[order]) == 0)
    if not twice.size:
        return
    one, two = order[twice[0]], order[twice[0] + 1]
    where = ", ".join(f"{name} {data[name].values[one]}" for name in axes)
    differ = [
        str(name)
        for name in ("arguments", "network", "starts", "tol", "screen", "control", "id")
        if data[name].values[one] != data[name].values[two]
    ]
    cells = " and ".join(f"{differ[0]} {data[differ[0]].values[cell]}" for cell in (one, two))
    raise ValueError(f"data: expected at most one cell in each place of the grid, got two at {where}: {cells}; choose cells before")


def _sizes(levels: dict[str, np.ndarray]) -> str:
    return " x ".join(f"{len(values)} {name}" for name, values in levels.items())
