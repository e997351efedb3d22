"""Which rows of a cell count, where several have measured the same trials."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence


def that_count(blocks: Sequence[tuple[int, int]]) -> list[int]:
    """Places of the blocks (first, end) that count, ascending: the largest, of equally large ones the first of the trials, and none that
    meets one of these; of equal ones the earlier place.

    For dyadic blocks, which are nested or disjoint, these cover all that any of them covers. In n log n comparisons.
    """
    firsts: list[int] = []
    ends: list[int] = []
    places = []
    for place in sorted(range(len(blocks)), key=lambda place: (blocks[place][0] - blocks[place][1], blocks[place][0])):
        first, end = blocks[place]
        at = bisect_right(firsts, first)
        if (at and ends[at - 1] > first) or (at < len(firsts) and firsts[at] < end):
            continue
        firsts.insert(at, first)
        ends.insert(at, end)
        places.append(place)
    return sorted(places)


def in_both(some: Sequence[tuple[int, int]], others: Sequence[tuple[int, int]]) -> int:
    """How many trials are in both of two lists of disjoint (first, end)."""
    some, others = sorted(some), sorted(others)
    found = at = 0
    for first, end in some:
        while at < len(others) and others[at][1] <= first:
            at += 1
        ahead = at
        while ahead < len(others) and others[ahead][0] < end:
            found += min(end, others[ahead][1]) - max(first, others[ahead][0])
            ahead += 1
    return found
