"""The page of a check: the verdict, every row, and nothing that a reader's browser would obey."""

import re
from base64 import b64encode
from hashlib import sha256

import pytest

from factorysim.report import check_page as module
from factorysim.report.check_page import check_page
from factorysim.study.check import Check, scores_of
from factorysim.study.measured.compare import Compared
from factorysim.study.measured.rows import Skipped
from factorysim.study.theory import TheoryRow
from factorysim.study.theory.row import failed
from tests.unit.report.hostile import HOSTILE, Page


def measured(name, expected=10.0, got=12.0, **changed):
    error = None if got is None else got / expected - 1.0
    fields = {
        "quantity": "tpot", "engine": "vllm", "generation": "hopper", "load": "closed",
        "source": "a table", "what": "an LLM on a device",
    }  # fmt: skip
    return Compared(name, 2, "tpot_ms", expected, got, error, "", (), **fields | changed)


def unpredicted(name, reason):
    return Compared(name, 3, "tpot_ms", 10.0, None, None, reason, ())


def law(name="theory.mm1", holds=True, reason=""):
    return TheoryRow(name, "wait, mean s", 1.0, 1.01, 0.9, 1.1, 0.01, holds, reason, "Kleinrock")


def checked(rows=(), theory=(), skipped=(), data="mine.csv"):
    return Check(tuple(theory), data, tuple(rows), tuple(skipped), tuple(scores_of(rows)))


@pytest.fixture
def page():
    rows = [
        measured("one"),
        measured("two", got=30.0, engine="sglang"),
        measured("three", quantity="ttft", got=10.0),
        unpredicted("four", "no such LLM"),
    ]
    theory = [law(), law("theory.conservation/quickstart")]
    return check_page(checked(rows, theory, [Skipped("five", 9, "its value is -1")]))


def test_the_verdict_comes_first(page):
    text = Page(page).text()
    assert text.index("All 2 rows hold.") < text.index("Scores by quantity")
    assert "3 of 5 rows are predicted" in text
    assert "2 are set aside" in text


def test_every_row_is_there_with_its_reason(page):
    text = Page(page).text()
    for word in ("one", "two", "three", "four", "five", "no such LLM", "its value is -1"):
        assert word in text
    assert "+20.0 %" in text
    assert "+200.0 %" in text


def test_rows_that_do_not_hold_are_named_at_the_top():
    broken = law("theory.md1", holds=False, reason="0.9 to 0.95 is below 1")
    text = Page(check_page(checked(theory=[law(), broken], data=None))).text()
    assert "1 of 2 rows do not hold." in text
    first = text.index("no: 0.9 to 0.95 is below 1")
    assert first < text.index("Queues and networks that have a formula")
    assert "Measurements not looked at" in " ".join(text.split())


def test_nothing_is_fetched_and_only_our_script_may_run(page):
    taken = Page(page)
    assert not taken.named("link", "img", "iframe", "object", "embed", "form", "base")
    for tag, attrs in taken.tags:
        assert not [name for name in attrs if name.startswith("on") or name in ("src", "style")]
        assert attrs.get("href", "#").startswith("#"), (tag, attrs)
    assert "@import" not in page
    assert "url(" not in page
    (policy,) = [
        one["content"] for one in taken.named("meta") if "content-security" in str(one).lower()
    ]
    assert policy.startswith("default-src 'none'; ")
    for tag in ("style", "script"):
        (text,) = re.findall(f"<{tag}>(.*?)</{tag}>", page, re.DOTALL)
        digest = b64encode(sha256(text.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy


@pytest.mark.parametrize("nasty", HOSTILE)
def test_text_of_a_users_file_stays_text(nasty):
    rows = [
        measured(nasty, source=nasty, what=nasty, engine=nasty, generation=nasty, load=nasty),
        measured("two")._replace(metric=nasty, assumed=(nasty,)),
        unpredicted(nasty, nasty),
    ]
    page = check_page(checked(rows, [law(reason=nasty, holds=False)], [Skipped(nasty, 3, nasty)]))
    page.encode()
    taken = Page(page)
    assert [tag for tag, _ in taken.tags if tag in ("script", "style", "img", "b")].count(
        "img"
    ) == 0
    assert len(taken.named("script")) == len(taken.named("style")) == 1
    assert all(not name.startswith("on") for _, attrs in taken.tags for name in attrs)
    assert "49" not in taken.text("th")
    shown = [text for where, text in taken.texts if where == "th"]
    plain = nasty if nasty.isprintable() else "\\x1b[31mred\\x1b[0m\\u202e\\udc80"
    assert plain in shown


def test_tables_and_figures_can_be_heard(page):
    taken = Page(page)
    assert len(taken.named("caption")) == len(taken.named("table"))
    assert all(attrs.get("scope") in ("col", "row") for attrs in taken.named("th"))
    ids = [attrs["id"] for _, attrs in taken.tags if "id" in attrs]
    assert len(ids) == len(set(ids))
    for figure in taken.named("svg"):
        told = figure.get("aria-labelledby", "").split()
        assert figure.get("aria-hidden") == "true" or (figure["role"] == "img" and told)
        assert set(told) <= set(ids)
    inside = [attrs["href"][1:] for attrs in taken.named("a", "use")]
    assert set(inside) <= set(ids)


def test_engines_differ_in_shape_as_well():
    rows = [measured(f"r{k}", engine=f"engine {k % 9}") for k in range(90)]
    taken = Page(check_page(checked(rows)))
    used = {attrs["href"] for attrs in taken.named("use")}
    assert used == {f"#m{k}" for k in range(7)}
    shapes = {attrs["id"]: attrs["d"] for attrs in taken.named("path") if "id" in attrs}
    assert len(set(shapes.values())) == 7
    legend = taken.text("li")
    assert "engine 6, engine 7, engine 8" in legend


def test_of_very_many_rows_the_farthest_off_are_listed(monkeypatch):
    monkeypatch.setattr(module, "ROWS_MOST", 20)
    rows = [measured(f"row-{k}", got=10.0 + k / 100)._replace(line=k) for k in range(300)]
    text = " ".join(Page(check_page(checked(rows))).text().split())
    assert "20 of 300 rows are listed: those farthest off." in text
    assert "row-299" in text
    assert "row-280" in text
    assert "row-0 " not in text


@pytest.mark.slow
def test_a_hundred_thousand_rows_make_a_page_of_some_megabytes():
    rows = [measured(f"row-{k}", got=1.0 + k % 1000, engine=f"e{k % 99}") for k in range(100_000)]
    page = check_page(checked(rows))
    assert len(page) < 5e6
    assert "2,000 of 100,000 rows are listed" in page
    assert "99,000 are not drawn" in page


def test_a_long_text_is_cut():
    page = check_page(checked([unpredicted("a" * 100_000, "b" * 100_000)]))
    assert len(page) < 100_000
    assert "aaa..." in page


def test_a_station_that_could_not_run_has_no_interval():
    page = check_page(checked(theory=[failed("theory.mm1", "a book", "planted")], data=None))
    assert "planted" in page
    assert "nan" not in Page(page).text("td")


def test_bands_are_shown_and_what_is_outside_them_is_told():
    rows = [measured("in", low=9.0, high=15.0), measured("out", low=11.0, high=15.0)]
    text = " ".join(Page(check_page(checked([*rows, measured("none")]))).text().split())
    assert "9.00 to 15.0 " in text
    assert "11.0 to 15.0, outside" in text
    assert "50.0 % of 2 in their 80 % bands" in text
    assert "80 % band" not in check_page(checked([measured("none")]))


def test_nothing_predicted():
    page = check_page(checked([unpredicted("a", "no such LLM")]))
    text = " ".join(Page(page).text().split())
    assert "0 of 1 rows are predicted; 1 is set aside" in text
    assert "<figure" not in page
    assert "no such LLM" in text


def test_rows_that_could_not_be_read_alone():
    text = Page(check_page(checked(skipped=[Skipped("x", 2, "no number")]))).text()
    assert "no number" in text


@pytest.mark.parametrize("got", [0.0, 5e-324, 1e300])
def test_predictions_beyond_an_axis_are_counted(got):
    row = measured("far", expected=1e-3, got=got)
    page = check_page(checked([row, measured("near")]))
    Page(page)
    assert "1 farther off" in page
    assert "nan" not in page.lower().replace("nand", "")


def test_quantities_in_two_units_have_a_figure_each():
    rows = [
        measured("a"),
        measured("b", quantity="tokens_per_s_per_user")._replace(metric="tok_s_user"),
        measured("c", quantity="ttft")._replace(metric="ttft_s"),
    ]
    heads = Page(check_page(checked(rows))).text("h3")
    assert "TPOT and ITL, ms" in heads
    assert "TPOT and ITL, tokens/s for a user" in heads
    assert "TTFT, s" in heads
