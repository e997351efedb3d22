"""Figures of a study, from the Dataset of `sublearn.study.load`.

Every function draws one question into one `ax` (None: a new one, by pyplot) and returns the ax. A strategy has the same colour in all
figures of a study. Points stand at their budgets, with 95 % intervals as bars; where points meet, later ones are smaller and on top. A
line joins the points of neighbouring budgets; over budgets that were not measured it is a thin dotted guide. Limits that theorems give are
bars with feet down (at most), up (at least) or without (exactly), broken where they are estimated from a sample of masks. The required
rank is a vertical line.
The axis says which quantity is shown: found and match probabilities are never drawn under one name. Where proven cells stand beside
searched ones they are ringed, and where the two meet to be compared (`existence`) each has a line of its own kind.

Your own matplotlib settings hold (rcParams, style sheets): fonts and their sizes, colours, the widths of lines, the sizes of markers and of
new figures. Where they are matplotlib's own, the look is that of the report (`style`).
`legend`: True beside the axes; False none; a place inside ("lower right"); a dict of arguments of `Axes.legend`; or a Figure, below which
it then stands, for several panels.
`labels`: {label of the study, name of a quantity or of a group: text to show}. Your texts may hold formulas; labels of the study are shown
as they are.
Not here: files, and the report around the figures.
"""

from .by_starts import restarts
from .curves import probability, split
from .existence_found import existence
from .heat_maps import heat_map
from .look import colours, style
from .masks import mask

__all__ = ["colours", "existence", "heat_map", "mask", "probability", "restarts", "split", "style"]
