"""The version of the installed package, in one place."""

from importlib.metadata import PackageNotFoundError, version

try:
    VERSION = version("sublearn")
except PackageNotFoundError:  # a bundle, a zip, a copied folder: the package without its metadata
    VERSION = "unknown"
