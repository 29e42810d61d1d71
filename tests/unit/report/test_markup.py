"""Elements hold text as text, wherever it comes from."""

import pytest
from markupsafe import Markup

from factorysim.report.markup import join, tag
from tests.unit.report.hostile import HOSTILE, Page


@pytest.mark.parametrize("nasty", HOSTILE)
def test_text_and_attributes_stay_what_they_are(nasty):
    made = tag("p", nasty, [nasty, tag("b", nasty)], title=nasty)
    taken = Page(made)
    assert [name for name, _ in taken.tags] == ["p", "b"]
    assert set(taken.tags[0][1]) == {"title"}
    shown = nasty if nasty.isprintable() else "\\x1b[31mred\\x1b[0m\\u202e\\udc80"
    assert taken.tags[0][1]["title"] == shown
    assert taken.text("b") == shown


def test_elements_are_not_escaped_again():
    assert join(tag("b", "x"), Markup("<i></i>"), None, 1.25) == "<b>x</b><i></i>1.25"


def test_an_attribute_that_is_false_or_nothing_is_left_out():
    assert tag("input", hidden=False, value=None, disabled=True) == "<input disabled>"
