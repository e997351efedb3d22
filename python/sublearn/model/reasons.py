"""Why a verdict or a prediction holds: one list of reasons for verdicts on trials and for predictions of masks."""

from __future__ import annotations

from enum import StrEnum
from typing import Self


class Reason(StrEnum):
    """The value is the label, as in `Verdicts.reason` and docs/theory.md.

    sentence: what it means; cure: what helps where a verdict is no, or open.
    """

    sentence: str
    cure: str

    def __new__(cls, label: str, sentence: str, cure: str = "") -> Self:
        self = str.__new__(cls, label)
        self._value_ = label
        self.sentence, self.cure = sentence, cure
        return self

    FROZEN = (
        "D3",
        "an output that no learnable weight reaches differs from its target",
        "let a weight before that output learn, or share with the teacher all that it depends on",
    )
    FREE = ("D4", "the student meets its targets as it is, or all that is not shared may learn: the teacher's own weights are a match")
    RANK = (
        "T1",
        "rho < kappa: the learnable weights reach fewer dimensions than a match with a generic teacher needs",
        "more learnable weights, or other ones: sl.explain names the sets that limit the rank",
    )
    AFFINE = ("T2", "the outputs are affine in the learnable weights: a linear system decides", "learnable weights in other layers as well")
    BLOCKS = ("T7", "the equations can be solved block by block", "learnable weights beside those of the structure")
    ODD = ("T8", "the number of complex solutions is odd, so one of them is real")
    REGIONS = ("T11", "relu: all linear regions were looked at, or the last layer is a linear system", "more learnable weights")
    HULL = (
        "T13",
        "units that learn each by themselves: a direction separates the targets from all that the units can add up to",
        "more hidden units, or learnable weights that act on several units",
    )
    PATHS = ("paths", "all complex solutions were followed to this trial", "other teachers, or more learnable weights")
    NEWTON = ("newton", "Newton's method from several starts", 'more starts; method "exact", which can also prove that there is no match')
    DESCENT = (
        "descent",
        "gradient descent from the student's own weights",
        'more steps, another rate or optimizer; method "newton", which has many starts',
    )
