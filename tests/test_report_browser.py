"""The report in a browser, wide and as narrow as a telephone: it fits, says what the pointer is on, and its switches work.

Needs chromium, chromedriver and selenium; skips itself with a reason where one of them is missing.
"""

import json
import re
import shutil

import pytest

from sublearn import study
from sublearn.study.limits import Limits
from tests import made_up_study as made_up
from tests.test_report import SMALL

webdriver = pytest.importorskip("selenium.webdriver", reason="needs selenium")
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.select import Select  # noqa: E402

CHROMIUM, DRIVER = (next(filter(None, map(shutil.which, names)), None) for names in (("chromium", "chromium-browser"), ("chromedriver",)))
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="needs chromium and chromedriver")
WIDTHS = (1280, 400)


def started(scripts=True):
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--window-size=1280,900"):
        options.add_argument(argument)
    if not scripts:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    return webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))


@pytest.fixture(scope="module")
def browser():
    driver = started()
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    """{"curves", "family", "large"} to reports, without figures on disk and with limits made up."""
    folder, made = tmp_path_factory.mktemp("pages"), {}
    specs = {"curves": study.parse_spec(SMALL), "family": made_up.family((4, 8), (4, 5, 6), "4..12"), "large": made_up.large()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("sublearn.study.report.figures.MOST_FIGURES", 0)
        for module in ("report.write", "tables"):
            patch.setattr(f"sublearn.study.{module}.limits_of", lambda found: [Limits(0.1, 0.9, True, False, 99)] * len(found))
        for name, spec in specs.items():
            made_up.fill(folder / name, spec)
            made[name] = study.write_report(folder / name, spec)
    return made


def opened(browser, page, width=1280):
    """The page at this width, every part of it open and seen, so that all of its figures are ready."""
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
    browser.get(page.as_uri())
    return browser


def wait(browser, condition):
    from selenium.webdriver.support.wait import WebDriverWait

    return WebDriverWait(browser, 10, 0.05).until(condition)


def data(browser):
    return json.loads(browser.execute_script("return document.getElementById('data').textContent"))


def move(browser, svg, x, y):
    """The pointer to a place of an SVG, in its own numbers."""
    browser.execute_script(
        """const [svg, x, y] = arguments, box = svg.getBoundingClientRect(), scale = box.width / svg.viewBox.baseVal.width;
        svg.dispatchEvent(new PointerEvent("pointermove", {clientX: box.left + x * scale, clientY: box.top + y * scale}));""",
        svg, x, y,
    )  # fmt: skip


def tip(browser):
    (told,) = browser.find_elements(By.CSS_SELECTOR, ".tip")
    return told.text if told.is_displayed() else None


def first_figure(browser, kind="curves"):
    figure = browser.find_element(By.CSS_SELECTOR, f".card figure.{kind}")
    wait(browser, lambda _: "ready" in figure.get_attribute("class"))
    return figure, figure.find_element(By.CSS_SELECTOR, ".scroll svg")


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", ["curves", "family", "large"])
def test_the_page_fits_and_reports_no_error(browser, pages, name, width):
    opened(browser, pages[name], width)
    for unfolded in (False, True) if name != "large" else (False,):
        if unfolded:
            browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
        wide, seen = browser.execute_script("return [document.documentElement.scrollWidth, document.documentElement.clientWidth]")
        assert wide <= seen == width
    small = browser.execute_script(
        """return Array.from(document.querySelectorAll(".card .scroll svg")).map(svg =>
            11 * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width)"""
    )
    assert min(small) >= 9  # pixels of a letter
    assert browser.get_log("browser") == []


@pytest.mark.parametrize("width", WIDTHS)
def test_the_finding_and_its_figure_are_on_the_first_screen(browser, pages, width):
    opened(browser, pages["curves"], width)
    sentence, figure = (browser.find_element(By.CSS_SELECTOR, f".card {part}") for part in ("p", "svg"))
    assert figure.rect["y"] + figure.rect["height"] < 900 and sentence.rect["y"] < figure.rect["y"]
    assert browser.find_element(By.ID, "asked").rect["y"] > figure.rect["y"] + figure.rect["height"]


@pytest.mark.parametrize("width", WIDTHS)
def test_a_pointer_on_a_point_shows_its_values(browser, pages, width):
    opened(browser, pages["curves"], width)
    _, svg = first_figure(browser)
    cells, names = data(browser)["cells"], data(browser)["names"]
    for group in svg.find_elements(By.CSS_SELECTOR, "[data-k]"):
        i, x, y = (list(map(float, group.get_attribute(f"data-{key}").split(" "))) for key in "ixy")
        move(browser, svg, x[6], y[6])
        told, cell = tip(browser), int(i[6])
        shown = [re.sub(r"[^0-9.]", "", part) for part in re.search(r"([\d.]+) \[([\d.]+), ([\d.]+)\], 95 % interval", told).groups()]
        # where curves meet, the pointer is on either
        found = [k for k in range(len(cells["cell"])) if f"cell {cells['cell'][k]}" in told]
        assert len(found) == 1 and (found == [cell] or cells["estimate"][found[0]] == pytest.approx(cells["estimate"][cell], abs=0.02))
        one = found[0]
        assert [float(text) for text in shown] == pytest.approx([cells[key][one] for key in ("estimate", "low", "high")], abs=1e-4)
        assert f"{cells['trials'][one]} trials" in told and names[cells["quantity"][one]] in told and f"r = {cells['size'][one]}" in told
        left, right = browser.execute_script("const b = document.querySelector('.tip').getBoundingClientRect(); return [b.left, b.right]")
        assert left >= 0 and right <= width
    move(browser, svg, 1, 1)
    assert tip(browser) is None


def test_a_switch_hides_and_shows_its_curve(browser, pages):
    opened(browser, pages["curves"])
    figure, svg = first_figure(browser)
    button = figure.find_element(By.CSS_SELECTOR, '.legend button[data-k="0"]')
    curve = svg.find_element(By.CSS_SELECTOR, '[data-k="0"]')
    assert curve.is_displayed() and button.get_attribute("aria-pressed") == "true"
    button.click()
    assert not curve.is_displayed() and button.get_attribute("aria-pressed") == "false"
    cell = data(browser)["cells"]["cell"][int(curve.get_attribute("data-i").split(" ")[3])]
    move(browser, svg, *(float(curve.get_attribute(f"data-{key}").split(" ")[3]) for key in "xy"))
    assert cell not in (tip(browser) or "")
    button.send_keys(Keys.SPACE)  # by the keyboard too
    assert curve.is_displayed() and button.get_attribute("aria-pressed") == "true"


def test_arrow_keys_show_values(browser, pages):
    opened(browser, pages["curves"])
    _, svg = first_figure(browser)
    cells = data(browser)["cells"]["cell"]
    first, second = (
        [cells[int(i)] for i in group.get_attribute("data-i").split(" ")] for group in svg.find_elements(By.CSS_SELECTOR, "[data-k]")
    )
    for key, cell in (
        (Keys.ARROW_RIGHT, first[0]),
        (Keys.ARROW_RIGHT, first[1]),
        (Keys.ARROW_DOWN, second[1]),
        (Keys.ARROW_LEFT, second[0]),
    ):
        svg.send_keys(key)
        assert f"cell {cell}" in tip(browser)
    svg.send_keys(Keys.ESCAPE)
    assert tip(browser) is None


@pytest.mark.parametrize("width", WIDTHS)
def test_a_heat_map_shows_the_choice(browser, pages, width):
    opened(browser, pages["family"], width)
    figure, svg = first_figure(browser, "heat")
    told, cells = data(browser), data(browser)["cells"]
    squares = told["heat"][figure.get_attribute("data-heat")]["squares"]
    strategy, budget = map(Select, figure.find_elements(By.CSS_SELECTOR, "select"))

    def check(key):
        for i, square in zip(squares[key], svg.find_elements(By.CSS_SELECTOR, ".sq rect"), strict=True):
            x, y = (float(square.get_attribute(name)) for name in "xy")
            move(browser, svg, x + 5, y + 5)
            assert (f"cell {cells['cell'][i]}" in tip(browser)) if i >= 0 else (tip(browser) is None)
        return [square.get_attribute("fill") for square in svg.find_elements(By.CSS_SELECTOR, ".sq rect")]

    before = check("0,0")
    strategy.select_by_index(1)
    budget.select_by_index(9)  # r = 12
    assert check("1,9") != before
    strategy.select_by_index(0)
    budget.select_by_index(0)
    again = check("0,0")
    colour = browser.execute_script(
        "const s = document.createElement('i').style; return arguments[0].map(c => (s.color = c, s.color))", before + again
    )
    assert colour[: len(before)] == colour[len(before) :]  # Python and the script colour alike


def test_masks_show_the_weights_that_learn(browser, pages):
    opened(browser, pages["curves"])
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")
    masks = browser.find_elements(By.CSS_SELECTOR, ".masks figure")
    assert len(masks) == 4
    for mask in masks:
        grids = mask.find_elements(By.CSS_SELECTOR, "svg path:not(.thin)")
        assert all(path.value_of_css_property("fill") == "rgb(11, 83, 148)" for path in grids)
        squares = sum(path.get_attribute("d").count("M") for path in grids)
        assert f", {squares}:" in mask.text and squares >= 5


def test_five_thousand_cells_open_in_two_seconds(browser, pages):
    times = []
    for _ in range(3):
        opened(browser, pages["large"])
        ended = "return performance.getEntriesByType('navigation')[0].loadEventEnd"  # 0 until the event has ended
        times.append(wait(browser, lambda _: browser.execute_script(ended)))
    assert 0 < min(times) < 2000, times


def test_without_scripts_figures_and_tables_stand(pages):
    driver = started(scripts=False)
    try:
        opened(driver, pages["curves"])
        assert driver.find_elements(By.CSS_SELECTOR, ".tip") == [] and len(driver.find_elements(By.CSS_SELECTOR, ".card svg [data-k]")) == 4
        assert len(driver.find_elements(By.CSS_SELECTOR, "td.n")) > 32 * 4
    finally:
        driver.quit()
