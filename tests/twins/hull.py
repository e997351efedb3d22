"""T13 by hand: is a direction larger at the targets than all that the units can add up to? Exact fractions (relu), a dense grid (tanh)."""

from fractions import Fraction

import numpy as np
from scipy.optimize import minimize

PHI = {"tanh": np.tanh, "relu": lambda z: np.maximum(z, 0 * z)}


def margin(net, theta, x, y, mask, direction):
    """u . t - sum over units of the sup of u . (V_j (x) phi(z_j)) over what unit j learns, for a network whose last hidden layer learns,
    theta, mask [size], x, y flat, direction [equations]; relu: for the direction next to it that has the slopes of 0 that it nearly has.

    relu: exact, -inf where some unit can rise for ever. tanh: right up to 1e-9 of the sizes, and a bound, but for units with two
    learnables: their largest value that a search finds.
    """
    exact = net.activation == "relu"
    number = np.vectorize(Fraction, otypes=[object]) if exact else np.asarray
    weights = {name: number(theta[where].reshape(net.groups[name])) for name, where in net.slices.items()}
    learn = {name: mask[where].reshape(net.groups[name]) for name, where in net.slices.items()}
    last, below = len(net.widths) - 2, number(x.reshape(net.x_shape))
    for layer in range(1, last):
        below = PHI[net.activation](weights[f"W{layer}"] @ below + weights.get(f"b{layer}", number(np.zeros(net.widths[layer])))[:, None])
        below = below * weights.get(f"g{layer}", number(np.ones(net.widths[layer])))[:, None]
    bias = weights.get(f"b{last}", number(np.zeros(net.widths[last])))
    shifts = learn.get(f"b{last}", np.zeros(net.widths[last], dtype=bool))
    gained = learn.get(f"g{last}", np.zeros(net.widths[last], dtype=bool))
    outgoing = weights[f"W{last + 1}"] * np.where(
        gained, number(np.ones(len(gained))), weights.get(f"g{last}", number(np.ones(len(gained))))
    )
    target = number(y.reshape(net.y_shape))
    free = learn.get(f"b{last + 1}", np.zeros(net.widths[-1], dtype=bool))
    target = target - number(np.where(free, 0.0, theta[net.slices[f"b{last + 1}"]]))[:, None] if f"b{last + 1}" in weights else target
    units = []
    for j in range(net.widths[last]):
        reads = [below[k] for k in np.flatnonzero(learn[f"W{last}"][j])] + [number(np.ones(net.samples))] * int(shifts[j])
        still = (weights[f"W{last}"][j] * ~learn[f"W{last}"][j]) @ below + bias[j] * int(not shifts[j])
        if reads or gained[j]:
            units.append((outgoing[:, j], still, None if reads and gained[j] else reads))
        else:
            target = target - outgoing[:, j][:, None] * PHI[net.activation](still)
    u = number(direction.reshape(net.y_shape))
    if exact:
        u = _held(u, units, free)
    for v, still, reads in units:  # what a gain multiplies without bound
        held = (v @ u) if reads is None else (v @ u) @ PHI[net.activation](still) if not reads else 0
        assert np.abs(np.array(held, dtype=float)).max() <= (0 if exact else 1e-12)
    total = (u * target).sum()
    for v, still, reads in [unit for unit in units if unit[2]]:
        total = total - (_most_relu if exact else _most_tanh)(v @ u, still, reads)
    slack = 0.0 if exact else 1e-9 * float(np.abs(u * target).sum())
    assert exact or np.abs(u[free].sum(axis=1)).max(initial=0.0) <= 1e-12
    return float(total) - slack


def _sides(x):
    zero = Fraction(0)
    return [np.array([max(v, zero) for v in x]), np.array([max(-v, zero) for v in x])]


def _held(u, units, free):
    """u, moved so that it is orthogonal to what it nearly is orthogonal to: exact elimination."""
    ones = np.array([Fraction(1)] * u.shape[1])
    rows = [(np.eye(len(u), dtype=int)[k] * Fraction(1))[:, None] * ones for k in np.flatnonzero(free)]
    near = Fraction(1, 10**9)
    rays = {}
    for v, still, reads in units:
        rows += [v[:, None] * np.maximum(still, Fraction(0))] if reads == [] else []
        for ray in _sides(reads[0]) if reads is not None and len(reads) == 1 else []:
            if any(ray) and abs((v @ u) @ ray) <= near * sum(map(abs, v)) * sum(ray):
                rays.setdefault(tuple(ray), []).append(v)
    for ray, found in rays.items():
        combinations = [np.array([Fraction(int(i == k)) for i in range(len(u))]) for k in range(len(u))] if len(found) >= len(u) else found
        rows += [v[:, None] * np.array(ray) for v in combinations]
    basis = []  # rows, each with a place where those after it are 0
    for row in rows:
        row = row.ravel().copy()
        for own, place in basis:
            row = row - own * (row[place] / own[place])
        if any(row):
            basis.append((row, int(np.argmax([abs(float(value)) for value in row]))))
    # the places of the basis solve for it, last row first
    flat = u.ravel().copy()
    for _ in range(1):
        places = [place for _, place in basis]
        matrix = [[own[place] for place in places] + [-(own @ flat)] for own, _ in basis]
        for k, move in enumerate(_solved(matrix)):
            flat[places[k]] += move
    assert all(own @ flat == 0 for own, _ in basis) and max((abs(float(a - b)) for a, b in zip(flat, u.ravel())), default=0) < 1e-6
    return flat.reshape(u.shape)


def _solved(rows):
    """x of a square system [A | b] of fractions."""
    count = len(rows)
    rows = [list(row) for row in rows]
    for k in range(count):
        swap = max(range(k, count), key=lambda r: abs(rows[r][k]))
        rows[k], rows[swap] = rows[swap], rows[k]
        rows[k] = [value / rows[k][k] for value in rows[k]]
        for r in range(count):
            if r != k:
                rows[r] = [a - rows[r][k] * b for a, b in zip(rows[r], rows[k])]
    return [row[count] for row in rows]


def _most_relu(p, still, reads):
    zero = Fraction(0)
    if len(reads) > 1:
        return zero if all(value <= 0 for value in p) else np.inf
    x = reads[0]
    if any(p @ ray > 0 for ray in _sides(x)):
        return np.inf
    corners = [-a / b for a, b in zip(still, x) if b] or [zero]
    return max(sum((w * max(a + s * b, zero) for w, a, b in zip(p, still, x)), zero) for s in corners)


def _most_tanh(p, still, reads):
    if len(reads) == 2 and len(p) > 2:
        return most_in_plane(p, still, *reads)
    if len(reads) > 1:
        return float(np.abs(p).sum())
    x = reads[0]
    if not x.any():
        return float((p * np.tanh(still)).sum())
    s = [np.linspace(-a / b - 25 / abs(b), -a / b + 25 / abs(b), 8001) for a, b in zip(still, x) if b]
    s = np.unique(np.concatenate(s))
    t = np.tanh(still + s[:, None] * x)
    step = np.minimum(0.77 / 8 * (np.diff(s)[:, None] * x) ** 2, np.abs(np.diff(t, axis=0)))
    values = t @ p
    inner = (np.maximum(values[1:], values[:-1]) + step @ np.abs(p)).max()
    ends = [(p * np.where(x == 0, np.tanh(still), side * np.sign(x))).sum() for side in (1, -1)]
    return float(max(inner, *ends)) + 1e-12 * float(np.abs(p).sum())


def most_in_plane(p, still, x, w):
    """The largest sum_k p_k tanh(still_k + s x_k + r w_k) that is found: polar grid, then by simplices from the best points."""
    sizes = [max(float(np.abs(part).max()), 1e-12) for part in (x, w)]
    angles, length = np.linspace(0, 2 * np.pi, 181)[:, None], np.concatenate([[0.0], np.geomspace(0.03, 300, 40)])
    s, r = (wave(angles) * length / size for wave, size in zip((np.cos, np.sin), sizes))
    value = lambda s, r: np.tanh(still + s[..., None] * x + r[..., None] * w) @ p  # noqa: E731
    values = value(s, r)
    best = float(values.max())
    for place in np.argsort(values.ravel())[-3:]:
        start = np.array([s.ravel()[place] * sizes[0], r.ravel()[place] * sizes[1]])
        found = minimize(
            lambda at: -float(value(*(at / sizes)[:, None])[0]), start, method="Nelder-Mead", options={"xatol": 1e-7, "fatol": 1e-12}
        )
        best = max(best, -found.fun)
    return best
