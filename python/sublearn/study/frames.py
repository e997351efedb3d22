"""The Dataset of a study as a pandas table: a row per cell, the columns of results.csv."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..theory.predict import KINDS

if TYPE_CHECKING:
    import pandas
    import xarray

# a name in the Dataset to the column of results.csv, where they differ
COLUMN_OF = {
    "id": "cell",
    "quantity_text": "quantity",
    "quantity": "kind_of_quantity",
    "low": "low95",
    "high": "high95",
    "theory_low": "theory_at_least",
    "theory_high": "theory_at_most",
    "theory_low_exact": "theory_at_least_exact",
    "theory_high_exact": "theory_at_most_exact",
}
# those of every study, in order; the keys that its networks sweep follow
COLUMNS = (
    *(
        "cell",
        "network",
        "strategy",
        "arguments",
        "budget",
        "control",
        "required_rank",
        "method",
        "starts",
        "tol",
        "screen",
        "seed",
        "task",
    ),
    *("quantity", "trials", "trial_ranges", "matched", "unmatched", "undecided", "screened", "solved_affine", "certified", "by_theorem"),
    *("probability", "low95", "high95", "theory_at_least", "theory_at_most", "theory_at_least_exact", "theory_at_most_exact"),
    *(f"predicted_{kind}" for kind in KINDS),
    *(f"predicted_{kind}_matched" for kind in KINDS),
    *("seconds", "family", "parameters", "activation", "kind_of_strategy", "split_first", "measure", "kind_of_quantity", "estimate"),
    *("interval_kind", "ended_by"),
    *("host", "date", "isa", "version"),
)
NONE = ("required_rank", "split_first")  # whole numbers that a cell may lack: -1 in the Dataset


def frame(data: xarray.Dataset) -> pandas.DataFrame:
    """The Dataset of `study.load`, or a part of its cells, as a pandas table: a row per cell, the columns of results.csv in their order.

    Numbers have all their digits; required_rank and split_first are missing where there is none. Errors: ValueError for data without the
    dimension `cell` or the attribute `seed`.
    """
    check_cells(data)
    if "seed" not in data.attrs:
        raise ValueError("data: expected the Dataset of study.load with its attribute seed, got one without; isel keeps attributes")
    plain = data.drop_dims([name for name in data.dims if name != "cell"])
    table = plain.to_dataframe().reset_index(drop=True)
    table["quantity_text"] = table["quantity_text"].where(table["trials"] > 0, "")
    table["seed"] = [int(data.attrs["seed"])] * len(table)
    table = table.rename(columns=COLUMN_OF)
    for name in NONE:
        table[name] = table[name].astype("Int64").mask(table[name] == -1)
    for end in ("theory_at_least", "theory_at_most"):  # where theory judged no mask, no end is exact or estimated
        table[f"{end}_exact"] = table[f"{end}_exact"].astype("boolean").mask(table[end].isna())
    return table[[*COLUMNS, *(name for name in table.columns if name not in COLUMNS)]]


def check_cells(data: xarray.Dataset) -> None:
    """ValueError unless data have the dimension `cell`."""
    if "cell" not in data.dims:
        raise ValueError(f"data: expected the Dataset of study.load, with dimension cell, got dimensions {', '.join(map(str, data.dims))}")
