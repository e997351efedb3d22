"""What can be asked of the columns of any model's Jacobian: of a network exactly, of a Jacobian in floating point."""

from __future__ import annotations

from ..model.linearized import Linearized
from ..model.network import Network
from .column_matroid import ExactColumns
from .numerical import NumericalColumns

Columns = ExactColumns | NumericalColumns


def columns_of(net: Network | Linearized, shared: tuple[str, ...]) -> Columns:
    return NumericalColumns(net, shared) if isinstance(net, Linearized) else ExactColumns(net, shared)
