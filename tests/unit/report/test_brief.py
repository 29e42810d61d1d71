"""A run on one screen: verdict and table last, and nothing wider than it."""

import io

import pytest
from rich.console import Console

from factorysim.metrics.names import metric
from factorysim.report.brief import FELT, ROWS, brief_report
from factorysim.report.numbers import of_unit
from factorysim.run import simulate
from tests.unit.run.builders import mm1


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return simulate(mm1(), out=tmp_path_factory.mktemp("runs") / "mm1", workers=1, name="mm1")


def rendered(run, width=80):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, markup=False)
    for part in brief_report(run):
        console.print(part)
    return out.getvalue()


@pytest.mark.parametrize("width", [80, 100])
def test_it_fits_a_screen(run, width):
    lines = rendered(run, width).splitlines()
    assert max(map(len, lines)) <= width
    assert len(lines) <= 48


def test_it_ends_in_the_table_and_its_notes(run):
    text = rendered(run)
    assert text.index("Audit:") < text.index("SLO") < text.index("TTFT, p95")
    last = [line for line in text.splitlines() if line.strip()][-1]
    assert last.startswith(("(", "facility energy per session"))


def test_every_row_is_the_summarys(run):
    text = rendered(run, 100)
    for name, words in ROWS.items():
        line = run.summary[name]
        row = next(row for row in text.splitlines() if row.startswith(words))
        if isinstance(line.value, float):
            assert of_unit(line.value, metric(name).unit) in row
        else:
            assert "(" in row


def test_a_spike_adds_what_recovers_from_it(run):
    assert "recovery" not in rendered(run)
    one = mm1(window="300 s")
    calls = one.streams["calls"]
    spike = {"launch": {"at": "100 s", "length": "20 s", "times": 8}}
    arrivals = calls.arrivals.model_dump() | {"spikes": spike}
    streams = {"calls": calls.model_validate(calls.model_dump() | {"arrivals": arrivals})}
    kind = one.run.model_copy(update={"kind": "terminating"})
    burst = one.model_copy(update={"streams": streams, "run": kind})
    text = rendered(simulate(burst, workers=1, name="burst"))
    assert [row in text for row in FELT.values()] == [True] * 3
    assert max(map(len, text.splitlines())) <= 80
