"""Degrees and verdicts against Groebner bases, on a few systems; `python -m tests.groebner_study` compares hundreds."""

import numpy as np
import pytest

import sublearn as sl
from tests import groebner_study as study


@pytest.mark.skipif(study.msolve_program() is None, reason=f"the optional package {study.PACKAGE} is not installed")
@pytest.mark.parametrize("name", study.FAMILIES)
def test_degrees_and_verdicts_equal_those_of_a_groebner_basis(name):
    count = 1 if "T = 6" in name else 3  # large degrees take seconds
    counts = study.tally(study.compare(name, count, seed=100))
    if not counts["systems"]:
        pytest.skip("msolve did not answer in time")
    assert counts["systems"] == counts["degrees equal"] <= count
    assert counts["wrong"] == counts["by paths: wrong"] == 0
    assert counts["undecided"] <= 1 and counts["by paths: undecided"] <= 1


@pytest.mark.parametrize("name", study.FAMILIES)
def test_polynomials_are_the_outputs(name):
    """At random weights the polynomials of the systems have the values of the outputs minus the targets."""
    system = study.draw(name, 1, seed=5)[0]
    rng = np.random.default_rng(0)
    values = rng.standard_normal(int(system.mask.sum()))
    theta = system.theta.copy()
    theta[system.mask] = values
    every = (sl.outputs(system.net, theta, system.x) - system.y).ravel()
    got = [sum(float(c) * np.prod(values ** np.array(powers)) for powers, c in p.items()) for p in study.polynomials(system)]
    moving = np.isin(np.arange(len(every)), study.system_rows(system))
    np.testing.assert_allclose(got, every[moving], rtol=1e-9, atol=1e-9)
