"""The version of the installed package, in one place."""

from functools import cache


@cache
def installed_version() -> str:
    """Asked for when it is needed: importlib.metadata takes longer to load than all of sublearn."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("sublearn")
    except PackageNotFoundError:  # a bundle, a zip, a copied folder: the package without its metadata
        return "unknown"
