"""The verbs export and verify: results for other programs, and results measured anew. What they do lives in sublearn.study."""

from __future__ import annotations

import argparse
import sys
import warnings

from .common import DIFFERENT, OK, UNWRITABLE, Refused, need_study, print_json


def export_results(options: argparse.Namespace) -> int:
    """Write the results of a folder in another format; the exit code."""
    need_study()
    from ..study import DiskError, SpecError, StoreError, load
    from ..study.exporting import output_path, write

    try:
        path = output_path(options.folder, options.to, options.output)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # what it says is printed below
            data = load(options.folder)
        if data.attrs["note"]:
            print(f"sublearn: {data.attrs['note']}", file=sys.stderr)
        write(data, options.to, path)
    except DiskError as error:
        print(f"sublearn: {error}", file=sys.stderr)
        return UNWRITABLE
    except (StoreError, SpecError, ImportError) as error:
        raise Refused(error) from None
    if options.json:
        print_json({"folder": options.folder, "format": options.to, "file": path})
    else:
        print(path)
    return OK


def verify_results(options: argparse.Namespace) -> int:
    """Measure a share of a folder's rows anew; the exit code."""
    from ..study import SpecError, StoreError, verify

    try:
        found = verify(
            options.folder,
            options.share,
            seed=options.seed,
            cells=options.cells,
            seconds=options.seconds,
            threads=options.threads,
            stream=sys.stderr,
        )
    except (StoreError, SpecError) as error:
        raise Refused(error) from None
    if options.json:
        names = ("rows", "trials", "of_rows", "aside", "errors", "note")
        print_json({"folder": options.folder, "same": not found.errors} | {name: getattr(found, name) for name in names})
        return DIFFERENT if found.errors else OK
    if found.note:
        print(f"sublearn: {found.note}", file=sys.stderr)
    for difference in found.errors:
        print(f"differs: {difference}")
    print(f"{options.folder}: {found}")
    return DIFFERENT if found.errors else OK
