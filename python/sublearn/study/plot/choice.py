"""Which cells does a figure show, in which curves?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray

PROBABILITIES = ("found", "existence")  # quantities that lie between 0 and 1


def select(
    data: xarray.Dataset,
    network: str,
    quantity_text: str | None,
    splits: bool | None = None,
    strategy: str | None = None,
    existence: bool = True,
    method: str | None = None,
) -> tuple[xarray.Dataset, str]:
    """The measured cells asked for, and the one quantity they show.

    Cells whose every verdict is a proof keep company with the found cells of their method; they are marked.
    """
    keep = (data["network"].values == network) & (data["trials"].values > 0)
    if splits is not None:
        keep &= (data["split_first"].values >= 0) == splits
    if strategy is not None:
        keep &= data["strategy"].values == strategy
    texts, exact, methods = (
        data["quantity_text"].values,
        data["quantity"].values == "existence",
        data["method"].values,
    )
    if quantity_text is not None:
        named = texts == quantity_text
        keep &= named | (exact & np.isin(methods, methods[named & (data["quantity"].values == "found")]))
    if not existence:
        keep &= ~exact
    if method is not None:
        keep &= methods == method
    if not keep.any():
        asked = ", ".join(repr(value) for value in (network, strategy, quantity_text) if value is not None)
        raise ValueError(f"data: expected measured cells of {asked}, got none")
    return data.isel(cell=np.flatnonzero(keep)), one_quantity(data, keep, quantity_text, method)


def one_quantity(data: xarray.Dataset, keep: np.ndarray, quantity_text: str | None, method: str | None) -> str:
    """The name of the one quantity of the kept cells, which have one method. ValueError where there are several."""
    texts, exact = data["quantity_text"].values, data["quantity"].values == "existence"
    found = sorted(set(map(str, texts[keep & ~exact])))
    if len(found) > 1:
        raise ValueError(f"quantity_text: expected one of {found} (they must not share an axis), got {quantity_text!r}")
    several = sorted(set(map(str, data["method"].values[keep])))
    if len(several) > 1:
        raise ValueError(f"method: expected one of {several} (they must not share a curve), got {method!r}")
    return found[0] if found else str(texts[keep][0])


def swept(data: xarray.Dataset) -> np.ndarray:
    """bool [cell]: cells of strategies that the study asked for, not only added as controls."""
    labels, control = data["strategy"].values, data["control"].values
    return np.isin(labels, labels[~control])


def mixed(chosen: xarray.Dataset) -> bool:
    """Whether proven cells (existence) and searched ones (found) share the axis."""
    proven = chosen["quantity"].values == "existence"
    return bool(proven.any() and not proven.all())


def estimates(part: xarray.Dataset) -> np.ndarray:
    """What is drawn of cells: probabilities, or the means of other quantities where the data have them."""
    return part["estimate" if "estimate" in part else "probability"].values


def curves(chosen: xarray.Dataset, name: str, axis: str) -> dict[Any, xarray.Dataset]:
    """The cells of each value of `name`, in the order of their first ones, each sorted along `axis`."""
    found = {}
    for value in dict.fromkeys(chosen[name].values.tolist()):
        part = chosen.isel(cell=np.flatnonzero(chosen[name].values == value))
        found[value] = part.isel(cell=np.argsort(part[axis].values, kind="stable"))
    return found


def sampled_rank(chosen: xarray.Dataset) -> bool:
    """Whether the required rank is only the largest one found among sampled regions (relu)."""
    return "relu" in chosen["activation"].values


def totals(chosen: xarray.Dataset) -> list[tuple[str, xarray.Dataset]]:
    """(label, cells) for each total budget of a split, the largest first."""
    kappa = int(chosen["required_rank"].values.max())
    name = "largest required rank found" if sampled_rank(chosen) else "required rank"
    found = sorted(curves(chosen, "budget", "split_first").items(), reverse=True, key=lambda item: item[0])
    return [(f"r = {total}{f' ({name})' if total == kappa else ''}", part) for total, part in found]
