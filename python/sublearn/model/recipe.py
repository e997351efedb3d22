"""Recipes: how a random mask is put together, in the terms that the compiled draws follow (D3)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from .._checks import whole_number


class Piece(NamedTuple):
    """One random step of a recipe: choose `pick` of the lists, then `each` members in every chosen list.

    List number l is members[offsets[l]:offsets[l + 1]] (flat positions); lists of one piece share no member.
    """

    members: np.ndarray
    offsets: np.ndarray
    pick: int
    each: int


def checked_piece(name: str, piece: Piece, size: int) -> Piece:
    members = np.array(piece.members, dtype=np.int64)
    offsets = np.array(piece.offsets, dtype=np.int64)
    lengths = np.diff(offsets)
    if offsets.ndim != 1 or offsets.size < 2 or offsets[0] != 0 or offsets[-1] != members.size or (lengths < 0).any():
        raise ValueError(f"{name}: expected offsets that rise from 0 to {members.size}, got {offsets.tolist()}")
    if members.ndim != 1:
        raise ValueError(f"{name}: expected a flat list of positions, got {members.tolist()}")
    if members.size and (members.min() < 0 or members.max() >= size):
        raise ValueError(f"{name}: expected positions from 0 to {size - 1}, got {members.min()} to {members.max()}")
    seen = np.zeros(size, dtype=bool)  # np.unique takes a second per million
    seen[members] = True
    if np.count_nonzero(seen) != members.size:
        raise ValueError(f"{name}: expected distinct positions, got one twice in {members.tolist()}")
    pick = whole_number(f"{name} pick", piece.pick, 0, len(lengths), "the number of lists")
    each = whole_number(f"{name} each", piece.each, 0, int(lengths.min()), "the shortest list")
    members.setflags(write=False)
    offsets.setflags(write=False)
    return Piece(members, offsets, pick, each)
