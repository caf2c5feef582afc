"""The pages in a real browser: headless Chromium, driven by Selenium."""

import json
import os
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from selenium import webdriver
from selenium.webdriver.chrome.options import Options
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from data.base.files import write_json
from evaluation.reporting.history import update_history
from flows.commands.compare import compare
from tests.evaluation.fabricated import ARMS, FabricatedRun, fabricate_run

HOSTILE = ("<script>document.title = 'hacked'</script>", '"><img src=x onerror="document.title=\'hacked\'">', "none")
MORE_RIGHT = {10: (6, 7, 8, 7), 100: (-2, 3, 0, -1)}
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[webdriver.Chrome]:
    """A headless Chromium; skipped where there is none, except in CI."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if chromium is None or driver is None:
        if os.environ.get("CI"):
            pytest.fail("CI needs chromium and chromedriver")
        pytest.skip("no chromium and chromedriver here")
    options = Options()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    started = webdriver.Chrome(options=options, service=Service(driver))
    yield started
    started.quit()


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> FabricatedRun:
    """A run whose class names want to be code."""
    directory = tmp_path_factory.mktemp("browser") / "a'<b>run"
    fabricated = fabricate_run(
        directory, more_right=MORE_RIGHT, class_names=HOSTILE, dataset={"warning": "loud <b>warning</b>"}
    )
    fabricated.write_page()
    write_json(directory / "environment.json", {"created": "2026-11-01T10:00:00+00:00"})
    return fabricated


@pytest.fixture(scope="module")
def history_page(run: FabricatedRun) -> Path:
    """The index of that run, a better one of a day later, and an unfinished one."""
    runs = run.directory.parent
    fabricate_run(runs / "better", more_right={10: (9, 10, 12, 11)}).write_page()
    write_json(runs / "better" / "environment.json", {"created": "2026-11-02T10:00:00+00:00"})
    (runs / "unfinished").mkdir()
    (runs / "unfinished" / "config.toml").write_text("")
    return update_history(runs)


@pytest.fixture(scope="module")
def comparison_page(run: FabricatedRun) -> Path:
    """A forced comparison of three runs, the first of which has a hostile name."""
    fabricate_run(run.directory.parent / "other", more_right={10: (1, 2, 0)}, dataset={"test_digest": "c" * 64})
    fabricate_run(run.directory.parent / "third", more_right={10: (2, 3, 0)})
    page = run.directory.parent / "comparison.html"
    others = [run.directory.parent / name for name in ("other", "third")]
    compare([run.directory, *others], output=page, force=True)
    return page


def visit(browser: webdriver.Chrome, page: Path, *, dark: bool = False, width: int = 1200) -> None:
    """Open a page and make sure that the console is silent and nothing but the page itself was asked for."""
    scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})
    metrics = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
    browser.get_log("browser")
    browser.get_log("performance")
    browser.get(page.as_uri())
    assert browser.get_log("browser") == []
    requested = {url for url in requests(browser) if not url.startswith("data:")}
    assert requested == {page.as_uri()}


def requests(browser: webdriver.Chrome) -> list[str]:
    messages: list[dict[str, Any]] = [
        json.loads(entry["message"])["message"] for entry in browser.get_log("performance")
    ]
    return [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]


def marks(browser: webdriver.Chrome, chart: str) -> int:
    return len(browser.find_elements(By.CSS_SELECTOR, f"{chart} svg.chart .mark"))


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_report_is_silent_and_stays_by_itself(browser: webdriver.Chrome, run: FabricatedRun, dark: bool) -> None:
    visit(browser, run.directory / "report.html", dark=dark)
    assert browser.find_element(By.TAG_NAME, "h1").text.startswith("It depends on how much labelled data there is")


def test_charts_have_a_mark_for_every_figure(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    visit(browser, run.directory / "report.html")
    assert marks(browser, "#gain") == len(MORE_RIGHT)
    assert marks(browser, "#accuracy") == len(MORE_RIGHT) * len(ARMS)
    assert marks(browser, "#samples") == len(MORE_RIGHT) * 3  # two losses and the distance
    assert marks(browser, "#changes") == len(MORE_RIGHT) * len(HOSTILE)
    assert marks(browser, "#statistics") == len(MORE_RIGHT) * (len(ARMS) - 1)


def test_marks_are_visible_in_their_arms_colour(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    colours = []
    for dark in (False, True):
        visit(browser, run.directory / "report.html", dark=dark)
        mark = browser.find_element(By.CSS_SELECTOR, "#gain svg .mark use")
        legend = browser.find_element(By.CSS_SELECTOR, "#gain figcaption .arm span")
        assert mark.size["width"] > 0
        assert mark.value_of_css_property("fill").removeprefix("rgb") in legend.value_of_css_property("color").replace(
            "rgba", "rgb"
        ).replace(", 1)", ")")
        colours.append(mark.value_of_css_property("fill"))
    assert colours[0] != colours[1]


def test_hostile_names_are_text(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    visit(browser, run.directory / "report.html")
    assert "hacked" not in browser.title
    assert HOSTILE[0] in browser.find_element(By.ID, "setup").text
    assert "<b>warning</b>" in browser.find_element(By.CSS_SELECTOR, ".banner").text


def test_pictures_decode(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    visit(browser, run.directory / "report.html")
    widths = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert len(widths) > 8
    assert min(widths) > 0


def test_film_is_driven_by_the_keyboard(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    visit(browser, run.directory / "report.html")
    film = browser.find_element(By.CLASS_NAME, "film")
    shown = [frame.text for frame in film.find_elements(By.CSS_SELECTOR, "figure:not([hidden])")]
    assert shown == ["step 150 · epoch 4.5 · distance 0.100"]
    film.find_element(By.TAG_NAME, "input").send_keys(Keys.HOME)
    shown = [frame.text for frame in film.find_elements(By.CSS_SELECTOR, "figure:not([hidden])")]
    assert shown == ["step 50 · epoch 1.5 · distance 0.300"]


def test_film_plays_from_its_first_frame(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    visit(browser, run.directory / "report.html")
    film = browser.find_element(By.CLASS_NAME, "film")
    button = film.find_element(By.TAG_NAME, "button")
    browser.execute_script("window.setInterval = (tick) => { window.tick = tick; return 1; }")  # the test is its clock
    button.click()
    assert "step 50 " in film.find_element(By.CSS_SELECTOR, "figure:not([hidden])").text
    assert "stop" in button.text
    browser.execute_script("window.tick()")
    assert "step 100 " in film.find_element(By.CSS_SELECTOR, "figure:not([hidden])").text


def test_print_opens_the_tables(browser: webdriver.Chrome, run: FabricatedRun) -> None:
    visit(browser, run.directory / "report.html")
    browser.execute_script("dispatchEvent(new Event('beforeprint'))")
    assert browser.find_elements(By.CSS_SELECTOR, "details:not([open])") == []


@pytest.mark.parametrize("width", [400, 900, 1400])
def test_pages_fit_their_width(
    browser: webdriver.Chrome, run: FabricatedRun, history_page: Path, comparison_page: Path, width: int
) -> None:
    for page in (run.directory / "report.html", history_page, comparison_page):
        visit(browser, page, width=width)
        assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_comparison_is_marked_as_forced_and_complete(
    browser: webdriver.Chrome, run: FabricatedRun, comparison_page: Path
) -> None:
    visit(browser, comparison_page)
    assert "FORCED COMPARISON" in browser.find_element(By.CSS_SELECTOR, ".banner strong").text.upper()
    assert marks(browser, "#gain") == 3
    assert run.directory.name in browser.find_element(By.ID, "runs").text


def test_history_sorts_by_every_column_and_says_so(browser: webdriver.Chrome, history_page: Path) -> None:
    visit(browser, history_page)
    assert first_cells(browser) == ["better", "a'<b>run", "unfinished"]
    gain = browser.find_element(By.XPATH, "//table[@id='runs']//th[.='10 per class']/button")
    gain.send_keys(Keys.ENTER)
    assert sort_states(browser)["10 per class"] == "descending"
    assert first_cells(browser) == ["better", "a'<b>run", "unfinished"]
    gain.send_keys(Keys.SPACE)
    assert sort_states(browser)["10 per class"] == "ascending"
    assert first_cells(browser) == ["a'<b>run", "better", "unfinished"]
    assert sort_states(browser)["Started"] is None


def test_history_links_lead_to_the_reports(browser: webdriver.Chrome, history_page: Path) -> None:
    visit(browser, history_page)
    browser.find_element(By.LINK_TEXT, "a'<b>run").click()
    assert re.match("It depends", browser.find_element(By.TAG_NAME, "h1").text)


def test_history_has_a_sparkline_per_regime(browser: webdriver.Chrome, history_page: Path) -> None:
    visit(browser, history_page)
    charts = browser.find_elements(By.CSS_SELECTOR, "td.spark svg")
    assert [len(chart.find_elements(By.CLASS_NAME, "mark")) for chart in charts] == [2, 1]


def first_cells(browser: webdriver.Chrome) -> list[str]:
    return [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#runs tbody th")]


def sort_states(browser: webdriver.Chrome) -> dict[str, str | None]:
    headings = browser.find_elements(By.CSS_SELECTOR, "#runs thead th")
    return {heading.text.rstrip(" ▲▼"): heading.get_dom_attribute("aria-sort") for heading in headings}
