"""The benchmarks of sublearn: `sublearn bench`, or `bench.main([...])` from a checkout. See README.md in this folder."""

from .cli import main

__all__ = ["main"]
