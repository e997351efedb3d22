"""Slow twin of the draws (D3): Philox 4x32-10, normals, masks and whole trials, as the definition says them.

Nothing here imports sublearn; a network is any object with .groups, .slices, .fan_in, .size and .x_shape.
"""

from __future__ import annotations

import numpy as np

TEACHER, STUDENT, INPUTS, MASK = 0, 1, 2, 3
WORD = np.uint64(0xFFFFFFFF)
MULTIPLY = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
BUMP = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
HALF = np.uint64(32)


def philox4x32(counter, key):
    """Ten rounds. counter [..., 4] and key [2] hold 32-bit words; so does the answer, uint64 [..., 4]."""
    c0, c1, c2, c3 = np.moveaxis(np.asarray(counter, dtype=np.uint64), -1, 0)
    k0, k1 = (np.uint64(word) for word in key)
    for _ in range(10):
        left, right = MULTIPLY[0] * c0, MULTIPLY[1] * c2  # exact: 32 bits times 32 bits
        c0, c1, c2, c3 = (right >> HALF) ^ c1 ^ k0, right & WORD, (left >> HALF) ^ c3 ^ k1, left & WORD
        k0, k1 = (k0 + BUMP[0]) & WORD, (k1 + BUMP[1]) & WORD
    return np.stack([c0, c1, c2, c3], axis=-1)


def blocks(count, seed, stream, trial, task):
    """uint64 [count, 4]: the blocks with index 0 .. count - 1."""
    counter = np.zeros((count, 4), dtype=np.uint64)
    counter[:, 0] = np.arange(count)
    counter[:, 1:] = stream, trial, task
    return philox4x32(counter, (seed & 0xFFFFFFFF, seed >> 32))


def normals(count, seed, stream, trial, task):
    """float64 [count]: normal numbers 0 .. count - 1 of a stream (Box-Muller, two out of a block)."""
    a, b, c, d = blocks((count + 1) // 2, seed, stream, trial, task).T
    u1 = (((a << HALF | b) >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52
    u2 = (((c << HALF | d) >> np.uint64(12)).astype(float) + 0.5) * 2.0**-52
    radius = np.sqrt(-2 * np.log(u1))
    pairs = np.stack([radius * np.cos(2 * np.pi * u2), radius * np.sin(2 * np.pi * u2)], axis=-1)
    return pairs.reshape(-1)[:count]


class Words:
    """The words of a stream in order, and whole numbers made of them; `rejected` counts words thrown away."""

    def __init__(self, seed, stream, trial, task):
        self.source = (seed, stream, trial, task)
        self.buffer, self.used, self.rejected = [], 0, 0

    def next(self):
        if self.used == len(self.buffer):
            self.buffer = blocks(max(16, len(self.buffer)), *self.source).reshape(-1).tolist()
        self.used += 1
        return self.buffer[self.used - 1]

    def bounded(self, n):
        """Uniform in 0 .. n - 1; n = 1 consumes no word."""
        if n == 1:
            return 0
        product = self.next() * n
        if product % 2**32 < n:
            threshold = (2**32 - n) % n
            while product % 2**32 < threshold:
                self.rejected += 1
                product = self.next() * n
        return product >> 32

    def choose(self, items, count):
        """`count` of the items without replacement, in the order drawn (partial Fisher-Yates)."""
        items = list(items)
        for i in range(count):
            j = i + self.bounded(len(items) - i)
            items[i], items[j] = items[j], items[i]
        return items[:count]


def mask(seed, task, trial, recipe, words=None):
    """bool [size]: the mask of one trial. recipe = (fixed, [(members, offsets, pick, each), ...])."""
    fixed, pieces = recipe
    out = np.array(fixed, dtype=bool)
    words = words or Words(seed, MASK, trial, task)
    for members, offsets, pick, each in pieces:
        lists = [members[begin:end] for begin, end in zip(offsets, offsets[1:])]
        for chosen in words.choose(lists, pick):
            for position in words.choose([int(member) for member in chosen], each):
                out[position] = True
    return out


def trial(net, shared, seed, task, trial, recipe, gains=None):
    """teacher [size], student [size], x of net.x_shape, mask [size] of one trial."""
    teacher = normals(net.size, seed, TEACHER, trial, task)
    student = normals(net.size, seed, STUDENT, trial, task)
    for name, where in net.slices.items():
        scale = (gains or {}).get(name, 1.0)
        if net.fan_in[name] is not None:
            scale = scale / np.sqrt(net.fan_in[name])
        teacher[where] *= scale
        student[where] = teacher[where] if name in shared else student[where] * scale
    x = normals(int(np.prod(net.x_shape)), seed, INPUTS, trial, task).reshape(net.x_shape)
    return teacher, student, x, mask(seed, task, trial, recipe)
