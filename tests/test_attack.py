"""A slice of the attack on verdicts (attack_verdicts.py), with a fresh seed each time: no wrong verdict of any kind."""

import numpy as np
import pytest

from tests import attack_verdicts as attack

SEED = int(np.random.SeedSequence().entropy % 2**32)


@pytest.mark.parametrize("kind", attack.KINDS)
def test_no_verdict_is_wrong(kind):
    rng = np.random.default_rng([SEED, attack.KINDS.index(kind)])
    count = attack.Count()
    for _ in range(12):
        attack.attack(kind, rng, count)
    print(f"seed {SEED}")  # shown where the test fails
    assert count.trials and count.yes + count.no + count.undecided == count.trials
    assert count.wrong == 0, [(str(e["net"]), e["method"], e["reason"], e["certified"], e["loss"]) for e in count.examples]


def test_the_attack_sees_a_wrong_verdict(monkeypatch):
    """Verdicts turned around are noticed."""
    import sublearn as sl

    true = sl.decide

    def turned(*arguments, **options):
        v = true(*arguments, **options)
        v.match[:] = 0
        return v

    monkeypatch.setattr(attack.sl, "decide", turned)
    count = attack.Count()
    attack.attack("planted/recurrent/linear/newton", np.random.default_rng(0), count)
    assert count.wrong == count.trials > 0
