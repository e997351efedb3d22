"""Projections on columns, and columns chosen one at a time, as the formulas say: remainders formed in full, 64 bits of mantissa."""

import numpy as np

LEAST = 1e-10  # of its own length: what must be left of a column that is taken


def units(vectors):
    """Vectors [k, ..] over their lengths, and the lengths [..]; squares of tiny and huge numbers neither vanish nor overflow here."""
    size = np.abs(vectors).max(axis=0, initial=0)
    size = np.where(size > 0, size, 1)
    length = size * np.sqrt(((vectors / size) ** 2).sum(axis=0))
    return vectors / np.where(length > 0, length, 1), length


class Greedy:
    """J [equations, p] and g [equations]; `basis`: orthonormal vectors that span the columns taken."""

    def __init__(self, J, g):
        self.J, self.g = np.asarray(J, np.longdouble), np.asarray(g, np.longdouble)
        self.directions, self.lengths = units(self.J)
        self.basis, self.taken = [], []

    def remainder(self, vectors):
        """vectors - their projections on the basis, twice: the second takes what rounding left the first time."""
        for _ in range(2):
            for q in self.basis:
                vectors = vectors - np.multiply.outer(q, q @ vectors)
        return vectors

    def take(self, j):
        self.taken.append(j)
        direction, left = units(self.remainder(self.directions[:, j]))
        if left > LEAST:
            self.basis.append(direction)

    @property
    def residual(self):
        return (self.remainder(self.g) ** 2).sum()

    def scores(self, rule, guard, candidates):
        """[p]: what the rule makes largest, -1 for columns that may not be taken."""
        p, y = self.J.shape[1], self.remainder(self.g)
        remainders = self.remainder(self.directions)
        left, along = units(remainders)[1], y @ remainders  # of each column, over its length
        open_ = candidates & (left > LEAST)
        open_[np.array(self.taken, int)] = False
        if not open_.any():
            return np.full(p, -1, np.longdouble)
        size = (left * (self.lengths / self.lengths[open_].max())) ** 2
        open_ &= size >= guard * size[open_].max()
        if rule == "pivot" or units(y)[1] <= 1e-13 * units(self.g)[1]:
            value = size
        else:
            value = (along / np.where(open_, left, 1)) ** 2 if rule == "ols" else along**2
        return np.where(open_, value, -1)


def choose(J, g, budget, rule, guard=0.0, given=(), candidates=None):
    """(indices, residuals), ties to the first."""
    greedy, found, residuals = Greedy(J, g), [], []
    candidates = np.ones(J.shape[1], bool) if candidates is None else candidates
    for step in range(budget):
        if step < len(given):
            found.append(given[step])
        else:
            scores = greedy.scores(rule, guard, candidates)
            found.append(int(scores.argmax()) if scores.max() >= 0 else -1)
        if found[-1] >= 0:
            greedy.take(found[-1])
        residuals.append(greedy.residual)
    return found, residuals
