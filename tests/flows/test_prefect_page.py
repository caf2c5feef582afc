"""From Prefect's page to the report by clicking, in a real browser."""

import shutil
from pathlib import Path
from urllib.parse import quote

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.support.wait import WebDriverWait

from evaluation.reporting.report import read_report
from flows.augmentation_study import augmentation_study
from flows.pages import served_pages
from flows.progress import artifact_key
from flows.study.config import StudyConfig
from flows.study.store import RunStore
from tests.evaluation.test_browser import browser  # noqa: F401 (a fixture)
from tests.waiting import PATIENCE_SECONDS


def test_link_of_prefects_page_leads_to_the_report(
    browser: webdriver.Chrome,  # noqa: F811
    prefect_api: str,
    undisturbed: Path,
    tiny: StudyConfig,
    tmp_path: Path,
) -> None:
    run = Path(shutil.copytree(undisturbed, tmp_path / "runs" / "clicked run"))
    with served_pages(RunStore(str(run.parent)), host="127.0.0.1", port=0) as pages:
        augmentation_study(tiny, run)  # nothing is left to do but to tell Prefect of it
        browser.get(f"{prefect_api.removesuffix('/api')}/artifacts/key/report-{artifact_key(run.name)}")
        address = f"{pages}/{quote(run.name)}/report.html"
        wait = WebDriverWait(browser, PATIENCE_SECONDS)
        wait.until(lambda page: page.find_element(By.CSS_SELECTOR, 'a[href*="/artifacts/artifact/"]')).click()
        link = wait.until(lambda page: page.find_element(By.CSS_SELECTOR, f'a[href="{address}"]'))
        browser.get_log("browser")
        link.click()
        wait.until(lambda page: page.switch_to.window(page.window_handles[-1]) or page.current_url == address)
        heading = wait.until(lambda page: page.find_element(By.TAG_NAME, "h1"))
        assert heading.text
        assert read_report(run / "report.json").regimes[0].title in browser.find_element(By.TAG_NAME, "body").text
        assert [entry for entry in browser.get_log("browser") if "Content Security Policy" in entry["message"]] == []
