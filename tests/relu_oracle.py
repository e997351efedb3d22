"""The smallest miss of a relu network that learns in one hidden layer, by scipy's HiGHS: an integer programme over all activation patterns.

Independent of the library's own search: unknowns are the weights themselves, activations are tied to them by a bound on pre-activations.

    python tests/relu_oracle.py 400 1     # seconds, seed: random networks against the library's verdicts
"""

import sys
import time

import numpy as np

from sublearn.existence.by_patterns import settle


class Model:
    """Linear programme in the learnable weights of layer k, with u (pre-activation), z = max(u, 0) and a (on or off) for every unit from
    layer k on in every sample, and two slacks per output: min sum of slacks = ||f - y||_1."""

    def __init__(self, net, k, theta, x, y, mask, bound):
        g, learns = net.unpack(theta), net.unpack(mask)
        L = len(net.widths) - 1

        def whole(l, groups):
            return np.concatenate([groups[f"W{l}"], groups[f"b{l}"][:, None]], axis=1) if f"b{l}" in groups else groups[f"W{l}"]

        def reads(l, signal):
            return np.concatenate([signal, np.ones((1, x.shape[1]))]) if f"b{l}" in g else signal

        signal = x
        for l in range(1, k):
            signal = np.maximum(whole(l, g) @ reads(l, signal), 0)
        S, W, on = reads(k, signal), whole(k, g), whole(k, learns).astype(bool)
        self.rows, self.low, self.high, self.count = [], [], [], 0
        weights = {place: self.new() for place in zip(*np.nonzero(on))}
        m, kinds, self.u = x.shape[1], [], []
        for l in range(k, L):
            A = whole(l, g)
            below, reach = self.u[-1] if l > k else None, bound if l == k else float(np.abs(A).sum(axis=1).max() * bound)
            bound = max(bound, reach)
            layer = []
            for j in range(net.widths[l]):
                for i in range(m):
                    u, z, a = self.new(), self.new(), self.new()
                    kinds.append((u, z, a, reach))
                    layer.append((u, z, a))
                    if l == k:
                        frozen = float((W[j] * ~on[j]) @ S[:, i])
                        self.add([(u, 1)] + [(weights[j, q], -S[q, i]) for q in np.flatnonzero(on[j])], frozen, frozen)
                    else:
                        terms = [(below[q * m + i][1], -A[j, q]) for q in range(net.widths[l - 1])]
                        bias = g[f"b{l}"][j] if f"b{l}" in g else 0.0
                        self.add([(u, 1), *terms], bias, bias)
                    self.add([(z, 1), (u, -1)], 0, np.inf)
                    self.add([(z, 1), (u, -1), (a, reach)], -np.inf, reach)  # on: z <= u
                    self.add([(z, 1), (a, -reach)], -np.inf, 0)  # off: z <= 0
            self.u.append(layer)
        slacks = []
        for q in range(net.widths[L]):
            for i in range(m):
                s, t = self.new(), self.new()
                slacks += [s, t]
                right = y[q, i] - (g[f"b{L}"][q] if f"b{L}" in g else 0.0)
                terms = [(self.u[-1][j * m + i][1], g[f"W{L}"][q, j]) for j in range(net.widths[L - 1])]
                self.add([*terms, (s, 1), (t, -1)], right, right)
        self.least, self.most = np.full(self.count, -np.inf), np.full(self.count, np.inf)
        self.least[slacks] = 0
        self.cost = np.zeros(self.count)
        self.cost[slacks] = 1
        self.whole = np.zeros(self.count)
        for u, z, a, reach in kinds:
            self.least[u], self.most[u], self.least[z] = -reach, reach, 0
            self.least[a], self.most[a], self.whole[a] = 0, 1, 1
        self.switches = [a for _, _, a, _ in kinds]

    def new(self):
        self.count += 1
        return self.count - 1

    def add(self, entries, least, most):
        self.rows.append(entries), self.low.append(least), self.high.append(most)

    def solve(self, pattern=None):
        """(least sum of slacks, on or off) over all patterns, or for one; the sum is inf where the pattern cannot be."""
        from scipy.optimize import Bounds, LinearConstraint, milp

        matrix = np.zeros((len(self.rows), self.count))
        for row, entries in zip(matrix, self.rows):
            for place, value in entries:
                row[place] += value
        least, most, whole = self.least.copy(), self.most.copy(), self.whole
        if pattern is not None:
            least[self.switches] = most[self.switches] = pattern
            whole = np.zeros(self.count)
        found = milp(self.cost, constraints=LinearConstraint(matrix, self.low, self.high), bounds=Bounds(least, most), integrality=whole)
        if found.x is None:
            assert found.status == 2, found.message
            return np.inf, None
        return found.fun, np.round(found.x[self.switches])


def verdicts_of(*arguments):
    """(match, theta, certified) of `by_patterns.settle`."""
    verdicts = settle(*arguments)
    return verdicts.match, verdicts.theta, verdicts.certified


def least_miss(net, k, theta, x, y, mask, bound=300.0):
    """min ||f - y||_1 over learnable W_k (and b_k) with |pre-activations of layer k| <= bound; nan where the integer programme met its
    target only by its tolerance for whole numbers: the pattern it found is solved once more, exactly."""
    model = Model(net, k, theta, x, y, mask, bound)
    miss, pattern = model.solve()
    if miss < 1e-4 and not model.solve(pattern)[0] < 1e-5:
        return np.nan
    return miss


def agreement(net, k, drawn, match, theta):
    """(how many trials the programme judges, the set of its answers); asserts that the library's match and theta agree with each of them.

    A trial between the tolerances of both is not judged."""
    judged, answers = 0, set()
    for q in range(len(match)):
        miss = least_miss(net, k, drawn.student[q], drawn.x[q], drawn.y[q], drawn.mask[q])
        if match[q] < 0 or 1e-6 <= miss <= 1e-4:
            continue
        judged += 1
        answer = int(miss < 1e-4)
        if match[q] == 1 and not answer:  # weights beyond the programme's bound: the solution itself is the proof
            assert np.abs(theta[q]).max() > 30
            continue
        assert match[q] == answer, q
        answers.add(answer)
    return judged, answers


def study(seconds, seed):
    """Random networks of one to three hidden layers, allocations and teachers against `settle`: counts, printed."""
    import sublearn as sl

    rng, end = np.random.default_rng(seed), time.monotonic() + seconds
    told = dict.fromkeys(("trials", "yes", "undecided", "between the tolerances", "contradictions"), 0)
    while time.monotonic() < end:
        widths = tuple(int(v) for v in rng.integers((2, *[1] * int(rng.integers(2, 5))), 5))
        m, layers = int(rng.integers(1, 4)), len(widths) - 1
        if sum(widths[1:-1]) > 9 or sum(widths[1:-1]) * m > 21:
            continue
        net = sl.Feedforward(widths, m, "relu", [False, True, ("b1",)][rng.integers(3)])
        k = int(rng.integers(1, layers))
        budget = {f"W{k}": int(rng.integers(1, widths[k] * widths[k - 1] + 1))}
        if f"b{k}" in net.groups:
            budget[f"b{k}"] = int(rng.integers(0, widths[k] + 1))
        drawn = sl.draw_trials(net, sl.split(net, {name: r for name, r in budget.items() if r}), 4, seed=int(rng.integers(10**6)))
        planted = np.where(drawn.mask, drawn.teacher, drawn.student)
        y = drawn.y if rng.random() < 0.6 else sl.outputs(net, planted, drawn.x)
        match, theta, _ = verdicts_of(net, drawn.student, drawn.x.reshape(4, -1), y.reshape(4, -1), drawn.mask)
        for q in range(4):
            told["trials"] += 1
            told["yes"] += int(match[q] == 1)
            if match[q] < 0:
                told["undecided"] += 1
                continue
            miss = least_miss(net, k, drawn.student[q], drawn.x[q], y[q], drawn.mask[q])
            far = match[q] == 1 and np.abs(sl.outputs(net, theta[q], drawn.x[q]) - y[q]).max() < 1e-9 and np.abs(theta[q]).max() > 30
            if not (miss < 1e-6 or miss > 1e-4):
                told["between the tolerances"] += 1
            elif match[q] != int(miss < 1e-4) and not far:  # far: weights beyond the programme's bound
                told["contradictions"] += 1
                print("contradiction:", net, k, budget, match[q], miss)
    print(told)


if __name__ == "__main__":
    study(float(sys.argv[1]), int(sys.argv[2]))
