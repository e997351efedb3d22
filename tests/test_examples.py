"""What the README and the docstrings of public names show is what comes out; links lead to files and headings."""

import contextlib
import doctest
import importlib.util
import inspect
import io
import re
from pathlib import Path

import numpy as np
import pytest

import sublearn as sl
from sublearn import study

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
NUMBER = re.compile(r"\d+\.\d+|\d+")


def public(module):
    """{name: value} of the classes and functions in the module's __all__."""
    named = {name: getattr(module, name) for name in module.__all__}
    return {name: value for name, value in named.items() if inspect.isclass(value) or inspect.isfunction(value)}


def examples():
    finder = doctest.DocTestFinder(recurse=True, exclude_empty=True)
    for module in (sl, study):
        for name, value in public(module).items():
            for test in finder.find(value, f"{module.__name__}.{name}", module=False, globs={"sl": sl, "np": np, "study": study}):
                if test.examples:
                    yield pytest.param(test, id=test.name)


def without_example(values):
    """Names of the classes and functions whose own docstring has no example."""
    parser = doctest.DocTestParser()
    return [name for name, value in values.items() if not parser.get_examples(inspect.getdoc(value) or "")]


@pytest.mark.parametrize("test", list(examples()))
def test_docstrings_show_what_comes_out(test, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # studies write there
    printed = io.StringIO()
    assert doctest.DocTestRunner(optionflags=doctest.NORMALIZE_WHITESPACE).run(test, out=printed.write).failed == 0, printed.getvalue()


def test_public_names_have_an_example():
    assert without_example(public(sl)) == []


def test_a_name_without_an_example_is_found():
    def planted():
        """A sentence, and no example."""

    assert without_example({"rank": sl.rank, "planted": planted}) == ["planted"]


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
    estimate = re.compile(r"estimated further matches not found: .*")  # from few trials: it moves by more than the counts
    assert like(estimate.sub("", output), estimate.sub("", printed.getvalue()))
    assert len(estimate.findall(output)) == len(estimate.findall(printed.getvalue())) == 2

    rest = after[after.index("Existence itself can be decided") :]
    call, output = re.search(
        r"`(sl\.match_probability\(.*?\))` for the two rows of five gives\n\n```text\n(.*?)\n```", rest, re.DOTALL
    ).groups()
    names["a"] = sl.per_row(names["net"], rows=2, each=5, within="W")
    assert str(eval(call, names)) == output


def headings(text):
    """The anchors of a page's headings, as GitHub makes them."""
    found = re.findall(r"^#+ +(.*)$", re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in found}


def broken_links(page):
    """Relative links and pictures of a page that lead to no file, or to no heading of their page."""
    text, broken = page.read_text(), []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)):
        path, _, anchor = target.partition("#")
        if re.match(r"[a-z]+:", target):
            continue  # elsewhere
        file = page.parent / path if path else page
        if not file.exists() or (anchor and anchor not in headings(file.read_text())):
            broken.append(target)
    return broken


PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(page):
    assert broken_links(page) == []


def test_a_broken_link_is_found(tmp_path):
    page = tmp_path / "page.md"
    (tmp_path / "there.md").write_text("## A heading")
    page.write_text(
        "# One\n[a](there.md) [b](there.md#a-heading) [c](#one) [d](https://nowhere.invalid) [e](gone.md) [f](there.md#gone) [g](#gone)"
    )
    assert broken_links(page) == ["gone.md", "there.md#gone", "#gone"]


def test_the_page_on_own_models_shows_the_rows_that_were_measured():
    page, name = (ROOT / "docs" / "own_model.md").read_text(), ROOT / "examples" / "fine_tune.py"
    spec = importlib.util.spec_from_file_location("fine_tune", name)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        example.main(["--table"])
    assert len(printed.getvalue().split("\n")) == 2 + len(example.RULES) + 1 and printed.getvalue() in page
