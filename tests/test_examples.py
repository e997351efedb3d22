"""What the README and the docstrings of public names show is what comes out."""

import contextlib
import doctest
import inspect
import io
import re
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl

README = (Path(__file__).parent.parent / "README.md").read_text()
NUMBER = re.compile(r"\d+\.\d+|\d+")


def examples():
    finder = doctest.DocTestFinder(recurse=True, exclude_empty=True)
    for name in sl.__all__:
        value = getattr(sl, name)
        if inspect.isclass(value) or inspect.isfunction(value):
            for test in finder.find(value, f"sublearn.{name}", module=False, globs={"sl": sl, "np": np}):
                if test.examples:
                    yield pytest.param(test, id=test.name)


@pytest.mark.parametrize("test", list(examples()))
def test_docstrings_show_what_comes_out(test):
    said = io.StringIO()
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=said.write).failed == 0, said.getvalue()


def test_a_wrong_docstring_is_found():
    test = doctest.DocTestParser().get_doctest(">>> sl.rank(np.eye(3))\n4\n", {"sl": sl, "np": np}, "planted", None, None)
    assert doctest.DocTestRunner().run(test, out=lambda text: None).failed == 1


def like(shown, printed):
    """The same words, and numbers within 2 % (searches round differently with other instruction sets)."""
    assert NUMBER.sub("#", shown) == NUMBER.sub("#", printed)
    return np.allclose(*([float(number) for number in NUMBER.findall(text)] for text in (shown, printed)), rtol=0.02, atol=0.005)


def test_the_readme_shows_what_comes_out():
    """The five lines, and the call in the text after them, each with the next block of output."""
    after = README[README.index("## Five lines") :]
    code, output = re.search(r"```python\n(.*?)```\n\nprints\n\n```text\n(.*?)```", after, re.DOTALL).groups()
    printed, names = io.StringIO(), {}
    with contextlib.redirect_stdout(printed):
        exec(code, names)  # what a reader runs
    shown = re.sub(r"; the starts missed about .*", "", output)  # an estimate from few trials moves by more than the counts
    assert like(shown, re.sub(r"; the starts missed about .*", "", printed.getvalue()))

    rest = after[after.index("Existence itself can be decided") :]
    call, output = re.search(
        r"`(sl\.match_probability\(.*?\))` for the two rows of five gives\n\n```text\n(.*?)\n```", rest, re.DOTALL
    ).groups()
    names["a"] = sl.per_row(names["net"], rows=2, each=5, within="W")
    assert str(eval(call, names)) == output
