"""The ledger page as a reader meets it: opened from a file in a real browser, wide and narrow."""

import shutil

import pytest
from browsers import NEEDS_BROWSER, set_width, started
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select, WebDriverWait

from conftest import ROOT
from feature_alignment.publish import documents, page
from feature_alignment.storage import read_json

PUBLISHED = ROOT / "reference" / "laptop"
pytestmark = [pytest.mark.browser, NEEDS_BROWSER]


@pytest.fixture(scope="module")
def ledger():
    return read_json(PUBLISHED / "ledger.json")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The page of the published ledger, beside a folder with one of its figures."""
    folder = tmp_path_factory.mktemp("ledger")
    figures = folder / "figures"
    shutil.copytree(PUBLISHED / "thumbnails", figures)
    page.main(
        ["--ledger", str(PUBLISHED / "ledger.json"), "--out", str(folder / "audit" / "ledger.html")]
        + ["--papers", *map(str, sorted(ROOT.glob("papers/*/paper.yaml")))]
        + ["--figures", *map(str, sorted(figures.glob("*/*.png")))]
    )
    shutil.rmtree(figures / "lou2022")  # as where the page was sent without the figures
    return folder / "audit" / "ledger.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with started(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def opened(browser, written):
    """Return a function that opens the page at a place and a width."""

    def at(place="", width=1200):
        set_width(browser, width)
        browser.get("about:blank")
        browser.get(written.as_uri() + place)
        return browser

    yield at
    said = [entry["message"] for entry in browser.get_log("browser")]
    assert [message for message in said if "ERR_FILE_NOT_FOUND" not in message] == []


def shown(browser):
    """Return the ids of the claims that can be seen, in order."""
    return browser.execute_script(
        "return [...document.querySelectorAll('tbody tr')]"
        ".filter(row => row.offsetHeight).map(row => row.id)"
    )


def said(browser):
    return browser.find_element(By.ID, "shown").text


def press(browser, words):
    browser.find_element(By.XPATH, f"//button[normalize-space()='{words}']").click()


def test_every_claim_is_shown_at_first(opened, ledger):
    browser = opened()
    assert browser.title == "Ledger of claims"
    assert shown(browser) == [row["id"] for row in ledger]
    assert said(browser) == f"{len(ledger)} claims"


def test_paper_and_verdict_filter_together_and_stay_in_the_address(opened, ledger):
    browser = opened()
    count = sum(row["verdict"] == "contradicted" for row in ledger)
    press(browser, f"{count} contradicted")
    Select(browser.find_element(By.ID, "paper")).select_by_value("lejeune2024")
    expected = [
        row["id"]
        for row in ledger
        if (row["paper"], row["verdict"]) == ("lejeune2024", "contradicted")
    ]
    assert 0 < len(expected) < count
    assert shown(browser) == expected
    assert said(browser) == f"{len(expected)} of {len(ledger)} claims"
    place = "#" + browser.current_url.partition("#")[2]
    assert shown(opened(place)) == expected
    press(browser, "Show all")
    assert len(shown(browser)) == len(ledger)


def test_words_filter(opened, ledger):
    browser = opened()
    browser.find_element(By.ID, "words").send_keys("effective RANK")
    found = shown(browser)
    assert found
    statements = {row["id"]: row["statement"] for row in ledger}
    assert any("effective rank" in statements[name] for name in found)
    assert len(found) < len(ledger)


def test_words_are_found_across_the_lines_of_the_template(opened, ledger):
    row = ledger[-1]
    browser = opened()
    browser.find_element(By.ID, "words").send_keys(f"scale {row['needs']}; table {row['table']}")
    assert row["id"] in shown(browser)


@pytest.mark.parametrize("presses, descending", [(1, False), (2, True)])
def test_a_column_sorts_by_number_with_missing_values_last(opened, ledger, presses, descending):
    browser = opened()
    for _ in range(presses):
        press(browser, "estimate")
    known = [row for row in ledger if row["estimate"] is not None]
    ordered = sorted(known, key=lambda row: row["estimate"], reverse=descending)
    missing = [row["id"] for row in ledger if row["estimate"] is None]
    assert shown(browser) == [row["id"] for row in ordered] + missing
    header = browser.find_element(By.XPATH, "//th[normalize-space()='estimate']")
    assert header.get_attribute("aria-sort") == ("descending" if descending else "ascending")


def test_verdicts_sort_with_contradicted_ones_first(opened, ledger):
    browser = opened("#sort=verdict")
    verdicts = {row["id"]: row["verdict"] for row in ledger}
    order = list(documents.SEVERITY)
    found = [order.index(verdicts[name]) for name in shown(browser)]
    assert found == sorted(found)
    assert len(found) == len(ledger)


@pytest.mark.parametrize("paper, at_hand", [("baratin2021", True), ("lou2022", False)])
def test_a_figure_opens_whether_or_not_its_file_is_at_hand(opened, ledger, paper, at_hand):
    browser = opened(f"#paper={paper}")
    row = next(row for row in ledger if row["paper"] == paper)
    browser.find_element(By.CSS_SELECTOR, f"[id='{row['id']}'] .opener").click()
    dialog = browser.find_element(By.ID, f"figure-{row['table']}")
    assert dialog.is_displayed()
    image = dialog.find_element(By.TAG_NAME, "img")
    WebDriverWait(browser, 10).until(
        lambda _: image.get_attribute("src").startswith("file:" if at_hand else "data:")
    )
    assert browser.execute_script("return arguments[0].naturalWidth", image) >= 480
    link = dialog.find_element(By.TAG_NAME, "a").get_attribute("href")
    assert (link or "").endswith(f"figures/{row['table']}.png") == at_hand
    dialog.find_element(By.TAG_NAME, "button").click()
    assert not dialog.is_displayed()


def test_a_claim_has_an_address_and_tells_where_it_comes_from(opened, ledger):
    row = ledger[-1]
    browser = opened(f"#{row['id']}")
    assert len(shown(browser)) == len(ledger)
    claim = browser.find_element(By.ID, row["id"])
    top = browser.execute_script("return arguments[0].getBoundingClientRect().top", claim)
    assert 0 <= top < 800
    claim.find_element(By.TAG_NAME, "summary").click()
    assert row["table_sha256"] in claim.text


def test_a_phone_shows_everything_without_scrolling_sideways(opened, ledger):
    browser = opened("#verdict=contradicted", width=375)
    widest = browser.execute_script(
        "return Math.max(document.scrollingElement.scrollWidth,"
        " ...[...document.querySelectorAll('tbody tr, .filters *')].map("
        "   e => e.getBoundingClientRect().right))"
    )
    assert widest <= 375
    row = next(row for row in ledger if row["verdict"] == "contradicted")
    labels = browser.execute_script(
        "return [...document.getElementById(arguments[0]).cells]"
        ".map(cell => getComputedStyle(cell, '::before').content)",
        row["id"],
    )
    assert [label for label in labels if label != "none"] == [
        f'"{name}: "'
        for name in ("paper", "class", "verdict", "estimate", "95 % interval", "seeds", "figure")
    ]
    assert row["statement"][:20] in browser.find_element(By.ID, row["id"]).text
    Select(browser.find_element(By.ID, "order")).select_by_value("estimate")
    found = [row["estimate"] for name in shown(browser) for row in ledger if row["id"] == name]
    assert found == sorted(found)


def test_without_scripts_the_whole_table_is_there(browser, written, ledger):
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        browser.get(written.as_uri())
        assert len(browser.find_elements(By.CSS_SELECTOR, "tbody tr")) == len(ledger)
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
