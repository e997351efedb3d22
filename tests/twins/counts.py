"""T6 by counting: whether the learnable entries of one layer reach the rank of the whole layer. A check of the theorem; nothing uses it."""

import numpy as np

from sublearn.model.layers import plain
from sublearn.ranks.closed_forms import signals

LARGEST_SIDE = 12  # all 2^side sets of units on the smaller side of a layer are tried


def layer_spans(net, layer, mask):
    """Whether the learnable entries of W_layer reach the rank of the whole layer, by counts (T6). Linear.

    mask: bool [n_k, n_{k-1}]. False: the necessary count condition fails. True: it holds and is sufficient.
    None: it holds but is only necessary, or the layer has more than 12 units on both sides.
    """
    net = plain(net)
    n = net.widths
    before = signals(net)[layer - 1][0]
    a, b = n[layer] - min(n[layer:]), n[layer - 1] - before
    frozen = ~np.asarray(mask, dtype=bool)
    if frozen.shape[0] > frozen.shape[1]:
        frozen, a, b = frozen.T, b, a
    side = frozen.shape[0]
    if side > LARGEST_SIDE:
        return None
    # |E in U x V| <= |V| a + |U| b - a b for all |U| >= a, |V| >= b: the worst V has the fullest columns.
    U = (np.arange(2**side)[:, None] >> np.arange(side)) & 1
    U = U[U.sum(axis=1) >= a]
    excess = -np.sort(-(U @ frozen.astype(np.int64) - a), axis=1)
    worst = excess[:, :b].sum(axis=1) + np.maximum(excess[:, b:], 0).sum(axis=1)
    if (worst > U.sum(axis=1) * b - a * b).any():
        return False
    return True if min(a, b) <= 1 else None
