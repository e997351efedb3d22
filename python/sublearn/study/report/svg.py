"""How is a small figure written as SVG?

Compact: a curve is a handful of paths, whatever the number of its points. Widths are in style.css, by class; --c is a curve's colour.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape

# viridis, without its ends that are close to black and to the paper
MAP = ("#482475", "#414487", "#355f8d", "#2a788e", "#21918c", "#22a884", "#44bf70", "#7ad151", "#bddf26", "#ede51b")


@dataclass(frozen=True)
class Frame:
    """The place of a plot in its SVG, in pixels, and the numbers at its edges."""

    x: tuple[float, float]
    y: tuple[float, float]
    width: int = 400
    height: int = 240
    left: int = 38
    right: int = 8
    top: int = 20
    bottom: int = 36

    def at_x(self, value: float) -> float:
        low, high = self.x
        return self.left + (value - low) / (high - low) * (self.width - self.left - self.right)

    def at_y(self, value: float) -> float:
        low, high = self.y
        return self.height - self.bottom - (value - low) / (high - low) * (self.height - self.top - self.bottom)


def number(value: float) -> str:
    """A coordinate, to a tenth of a pixel."""
    return f"{value:.1f}".removesuffix(".0")


def told(value: float) -> str:
    """A number beside an axis."""
    return f"{value:.6g}"


def path(kind: str, data: str) -> str:
    return f'<path class="{kind}" d="{data}"/>' if data else ""


def text(x: float, y: float, words: str, kind: str = "", more: str = "") -> str:
    of_class = f' class="{kind}"' if kind else ""
    return f'<text x="{number(x)}" y="{number(y)}"{of_class}{more}>{escape(words)}</text>'


def line(places: Sequence[tuple[float, float]]) -> str:
    """Path data of a line through these places."""
    return "M" + "L".join(f"{number(x)} {number(y)}" for x, y in places) if places else ""


def marker(shape: int, x: float, y: float, r: float) -> str:
    """Path data of a point: the shape of plot/look.py's marker of this number."""
    px, py = number(x), number(y)
    shape %= 8
    if shape == 0:
        return f"M{number(x - r)} {py}a{number(r)} {number(r)} 0 1 0 {number(2 * r)} 0a{number(r)} {number(r)} 0 1 0 {number(-2 * r)} 0z"
    if shape == 1:
        return f"M{number(x - 0.9 * r)} {number(y - 0.9 * r)}h{number(1.8 * r)}v{number(1.8 * r)}h{number(-1.8 * r)}z"
    if shape in (2, 4):
        up = 1 if shape == 2 else -1
        return f"M{px} {number(y - up * r)}l{number(r)} {number(up * 1.8 * r)}h{number(-2 * r)}z"
    if shape == 3:
        across, down = number(r), number(1.15 * r)
        return f"M{px} {number(y - 1.15 * r)}l{across} {down} -{across} {down} -{across} -{down}z"
    if shape in (5, 6):
        turn = 0.0 if shape == 5 else math.pi / 4
        arms = [(1.1, 0.35), (1.1, -0.35), (0.35, -0.35)]
        corners = [(math.cos(turn + q * math.pi / 2), math.sin(turn + q * math.pi / 2), a, b) for q in range(0, -4, -1) for a, b in arms]
        return line([(x + r * (a * c - b * s), y + r * (a * s + b * c)) for c, s, a, b in corners]) + "z"
    return line([(x + r * math.sin(q * 0.4 * math.pi), y - r * math.cos(q * 0.4 * math.pi)) for q in range(5)]) + "z"


def axes(frame: Frame, x_name: str, x_ticks: Iterable[float], y_ticks: Sequence[float]) -> str:
    """Lines, numbers and the name of the x axis. What the y axis shows stands above the figure."""
    bottom, right = frame.height - frame.bottom, frame.width - frame.right
    grid = "".join(f"M{frame.left} {number(frame.at_y(y))}H{right}" for y in y_ticks)
    parts = [path("grid", grid), path("axis", f"M{frame.left} {frame.top}V{bottom}H{right}")]
    parts += [text(frame.left - 5, frame.at_y(y) + 3.5, told(y), "y") for y in y_ticks]
    parts += [text(frame.at_x(x), bottom + 14, told(x), "x") for x in x_ticks]
    parts.append(text((frame.left + right) / 2, frame.height - 6, x_name, "x"))
    return f'<g class="ax">{"".join(parts)}</g>'


def steps(low: float, high: float, most: int) -> list[float]:
    """Round numbers from low to high, at most about `most`."""
    if not high > low:
        return [low]
    rough = (high - low) / most
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * 0.999)
    return [step * k for k in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1)]


def some(numbers: Iterable[int], most: int = 14) -> list[float]:
    """Ticks at whole numbers that were measured, or at round ones where there are many."""
    unique = sorted(set(numbers))
    if len(unique) <= most and unique[-1] - unique[0] <= 2.5 * most:
        return [float(value) for value in unique]
    return [value for value in steps(unique[0], unique[-1], 8) if value == int(value)]


def colour(share: float) -> str:
    """The colour of a value between 0 (dark) and 1 (light)."""
    place = min(1.0, max(0.0, share)) * (len(MAP) - 1)
    k = min(int(place), len(MAP) - 2)
    one, two = (tuple(int(MAP[k + j][p : p + 2], 16) for p in (1, 3, 5)) for j in (0, 1))
    return "#" + "".join(f"{round(a + (place - k) * (b - a)):02x}" for a, b in zip(one, two))


def shades(count: int) -> list[str]:
    """`count` colours of falling lightness: the first is that of the largest."""
    return [colour(0.5)] if count == 1 else [colour(0.85 - 0.85 * k / (count - 1)) for k in range(count)]
