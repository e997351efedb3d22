"""The compiled module of the CPU, under a name that only this room knows."""

from .. import _cpu as cpu

__all__ = ["cpu"]
