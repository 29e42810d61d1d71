"""Pages in a real browser: they fetch nothing, say nothing is wrong, and everybody can use them."""

import pytest

from factorysim.load import load
from factorysim.report.check_page import check_page
from factorysim.report.run_page import comparison_page, report
from factorysim.run import simulate
from factorysim.study.check import Check
from factorysim.study.compare import compare
from factorysim.study.measured.compare import Compared
from tests.acceptance.browser import axe, browser  # noqa: F401
from tests.unit.run.builders import mm1

WIDTHS = (390, 1280)
PAGES = ("run", "comparison", "check")
SHORT = ("run.window='10 s'", "run.drain='60 s'", "run.replications=2")


@pytest.fixture(scope="session")
def pages(tmp_path_factory):
    """Pages of a run with agents, of a comparison, and of a check."""
    home = tmp_path_factory.mktemp("pages")
    run = simulate(load("quickstart", overrides=SHORT), out=home / "agents", workers=1)
    made = {
        "run": report(run),
        "comparison": home / "comparison.html",
        "check": home / "check.html",
    }
    found = compare([mm1(replications=2), mm1(servers=2)], names=["one", "two"], workers=1)
    made["comparison"].write_text(comparison_page(found), encoding="utf-8")
    rows = [
        Compared("row", 2, "tpot_ms", 10.0, 12.0, 0.2, "", (), quantity="tpot", engine="vllm",
                 generation="hopper", load="closed", source="a table", what="an LLM on a device")
    ]  # fmt: skip
    made["check"].write_text(check_page(Check((), "x.csv", tuple(rows), (), ())), encoding="utf-8")
    return made


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_fetches_nothing_complains_of_nothing_and_fits(browser, pages, page, width):  # noqa: F811
    browser.open(pages[page], width)
    assert browser.errors() == []
    own = pages[page].resolve().as_uri()
    assert {url for url in browser.requests() if not url.startswith("data:")} <= {own}
    wide = browser.run("return document.documentElement.scrollWidth")
    assert wide <= width, "it scrolls sideways"
    cut = browser.run(CUT)
    assert cut == [], "text of a chart is cut off"


@pytest.mark.parametrize("width", WIDTHS)
def test_a_hash_takes_few_lines(browser, pages, width):  # noqa: F811
    """The words beside it must not squeeze it into a column of letters."""
    browser.open(pages["run"], width)
    tall = browser.run(
        "return [...document.querySelectorAll('#manifest .hash')].map((e) => e.offsetHeight)"
    )
    assert max(tall) <= 60


CUT = """return [...document.querySelectorAll("main svg[role] text")].filter((text) => {
  const box = text.getBoundingClientRect();
  return box.width && (box.left < -1 || box.right > innerWidth + 1);
}).map((text) => text.textContent);"""
"""Texts of charts beyond the edges of the screen, also where the charts scroll."""


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("page", PAGES)
def test_nobody_is_kept_out(browser, axe, pages, page, scheme):  # noqa: F811
    browser.open(pages[page], 1280, scheme)
    browser.run("for (const one of document.querySelectorAll('details')) one.open = true")
    assert browser.violations(axe) == []


@pytest.mark.parametrize("page", ["run", "comparison"])
def test_labels_of_an_axis_do_not_run_into_each_other(browser, pages, page):  # noqa: F811
    browser.open(pages[page], 390)
    assert browser.run(OVERLAPS) == []


OVERLAPS = """const found = [];
for (const svg of document.querySelectorAll("svg.plot")) {
  const boxes = [...svg.querySelectorAll("text")]
    .map((t) => [t.textContent, t.getBoundingClientRect()]).filter(([, b]) => b.width);
  for (let i = 0; i < boxes.length; i++) for (let k = i + 1; k < boxes.length; k++) {
    const [a, b] = [boxes[i][1], boxes[k][1]];
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left);
    const y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (x > 1 && y > 4) found.push([svg.getAttribute("aria-label"), boxes[i][0], boxes[k][0]]);
  }
}
return found;"""
"""Pairs of texts of one chart that cover each other."""


def test_the_theme_can_be_chosen_and_is_what_readers_like_at_first(browser, pages):  # noqa: F811
    browser.open(pages["run"], scheme="dark")
    paper = "return getComputedStyle(document.body).backgroundColor"
    dark = browser.run(paper)
    browser.find("#theme").click()
    light = browser.run(paper)
    assert (dark, light) == ("rgb(20, 23, 26)", "rgb(255, 255, 255)")
    assert browser.find("#theme").text == "Dark"


def test_gaps_can_be_shown_and_left_out(browser, pages):  # noqa: F811
    browser.open(pages["run"])
    out, inside = browser.all(".choose > div")
    assert (out.is_displayed(), inside.is_displayed()) == (True, False)
    browser.all(".choose button")[1].click()
    assert (out.is_displayed(), inside.is_displayed()) == (False, True)
    pressed = [b.get_attribute("aria-pressed") for b in browser.all(".choose button")]
    assert pressed == ["false", "true"]
    assert browser.errors() == []


INSIDE = """const box = arguments[0].getBoundingClientRect();
return box.left >= 0 && box.top >= 0 && box.right <= innerWidth && box.bottom <= innerHeight;"""


def test_a_mouse_reads_values_of_a_chart(browser, pages):  # noqa: F811
    from selenium.webdriver.common.action_chains import ActionChains

    browser.open(pages["run"])
    plot = browser.find("#time svg.plot")
    browser.run("arguments[0].scrollIntoView({block: 'center', behavior: 'instant'})", plot)
    tip = browser.find("#tip")
    assert not tip.is_displayed()
    ActionChains(browser.driver).move_to_element(plot).perform()
    assert tip.is_displayed()
    assert tip.text.startswith("at ")
    assert "code" in tip.text
    assert browser.run(INSIDE, tip), "it is cut off by the window"


def test_a_keyboard_reads_every_chart_and_a_screen_reader_hears_it(browser, pages):  # noqa: F811
    from selenium.webdriver.common.keys import Keys

    browser.open(pages["run"])
    plots = browser.all("svg.plot")
    assert len(plots) > 8
    roles = {(p.get_attribute("role"), p.get_attribute("tabindex")) for p in plots}
    assert roles == {("slider", "0")}
    for name in ("#latency", "#shares"):
        plot = browser.find(f"{name} svg.plot")
        browser.run("arguments[0].focus()", plot)
        browser.press(Keys.HOME)
        first = plot.get_attribute("aria-valuetext")
        browser.press(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
        assert plot.get_attribute("aria-valuenow") == "2"
        assert plot.get_attribute("aria-valuetext") != first
        assert browser.find("#tip").is_displayed()
        browser.press(Keys.ESCAPE)
        assert not browser.find("#tip").is_displayed()


def test_metrics_can_be_searched(browser, pages):  # noqa: F811
    browser.open(pages["run"])
    browser.run("document.querySelector('#metrics details').open = true")
    browser.find("#metrics input").send_keys("ttft p95")
    shown = [row.text for row in browser.all("#metrics tbody tr") if row.is_displayed()]
    assert len(shown) == 1
    assert shown[0].startswith("ttft_s.p95")
    assert "1 of" in browser.find("#metrics [role=status]").text
