"""Utilization of links, by hand."""

import pytest

from factorysim.metrics.inputs import Window
from factorysim.metrics.links import NOTHING, link_values
from factorysim.records import LinkRow
from tests.unit.metrics.builders import reasons, tables, values

WINDOW = Window(10.0, 60.0)


def test_a_link_is_as_busy_as_the_bytes_of_the_window_fill_it():
    links = [LinkRow("a -> b", 1e9, 5e9), LinkRow("b -> a", 1e9, 1e10), LinkRow("b -> c", 4e9, 2e9)]
    found = link_values(tables(links=links), WINDOW)
    assert values(found) == {"fabric.utilization": pytest.approx(0.2), "fabric.busiest": "b -> a"}
    assert [values(found, "link", row.link)["fabric.utilization"] for row in links] == (
        pytest.approx([0.1, 0.2, 0.01])
    )


@pytest.mark.parametrize("links", [None, []])
def test_links_of_which_nothing_is_told_are_not_idle(links):
    found = link_values(tables(links=links), WINDOW)
    assert reasons(found) == {"fabric.utilization": NOTHING, "fabric.busiest": NOTHING}
    assert NOTHING.startswith("no message of 64 KB or more")
