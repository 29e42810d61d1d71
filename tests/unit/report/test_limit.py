"""A capacity in the terminal: the verdict first, eighty columns, nothing obeyed."""

import io

from rich.console import Console

from factorysim.metrics.inputs import Window
from factorysim.report.limit import ROWS_MOST, capacity_report, verdict
from factorysim.run.warmup import WarmUp
from factorysim.study.capacity import Attained, Binds, Capacity, Point

NAME = "a-stream-of-a-long-name"


def point(rate, share=0.9):
    seen = {NAME: Attained(share, 0.95, 100, (share,), {"ttft": 1 - share})}
    return Point(rate / 2, rate, share >= 0.95, seen, "steady", 0.5, "gpu: KV")


FOUND = Capacity(
    "mine", (NAME, "chat"), "sessions/s", 2.0, 5.8, 5.9, 5.5, 6.1, 5, None, (0.1, 100.0), 0.02,
    Binds(NAME, "ttft", 1.0, 0.06, 0.94, 0.95), "gpu: KV", 0.71,
    tuple(point(4.0 + r / 10) for r in range(40)),
    Window(20.0, 620.0), WarmUp(20.0, "given", ""), ("a note",),
)  # fmt: skip


def text_of(found, width=80):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, markup=False)
    for part in capacity_report(found):
        console.print(part)
    return out.getvalue()


def test_the_verdict_says_rate_interval_and_what_binds():
    assert str(verdict(FOUND)) == (
        "Sustains 5.80 sessions/s inside its SLOs (5.50 to 6.10, 95 %, 5 replications), "
        f"2.90 times the scenario's rate; binds: ttft of {NAME} (1.00 s)"
    )


def test_without_interval_number_or_threshold_it_says_so():
    alone = FOUND._replace(ci_low=None, ci_high=None, n=1, reason="one replication: no spread")
    assert "(5.80 inside, 5.90 outside; one replication, no interval)" in str(verdict(alone))
    assert "40 rates with 1 replication of each, to" in " ".join(text_of(alone).split())
    assert "No interval: one replication: no spread" in text_of(alone)
    nothing = FOUND._replace(rate=None, ci_low=None, ci_high=None, binds=None, reason="all meet")
    assert str(verdict(nothing)) == "No capacity to tell: all meet."
    assert "Just above" not in text_of(nothing)
    over = FOUND._replace(binds=Binds("", "overload", None, 0.0, None, None))
    assert str(verdict(over)).endswith("binds: overload")


def test_all_fits_in_eighty_columns_and_the_nearest_points_are_kept():
    lines = text_of(FOUND).splitlines()
    assert max(map(len, lines)) <= 80
    rows = [line for line in lines if line.rstrip().endswith("50.0 %") and "95.0 %" in line]
    assert len(rows) == ROWS_MOST
    assert any(row.startswith("5.80 ") for row in rows)
    assert not any(row.startswith("4.00 ") for row in rows)
    assert any("16 of 40" in line for line in lines)


def test_a_row_says_whether_it_is_inside_and_which_stream_is_worst():
    both = FOUND._replace(points=(point(4.0, 0.98), point(5.0, 0.94)))
    rows = [line.split() for line in text_of(both).splitlines() if line.startswith(("4.", "5."))]
    assert rows[0] == ["4.00", "2.00", "yes", NAME, "98.0", "%", "95.0", "%", "50.0", "%"]
    assert rows[1] == ["5.00", "2.50", "no", NAME, "94.0", "%", "95.0", "%", "50.0", "%"]


def test_names_are_not_obeyed():
    nasty = FOUND._replace(binds=FOUND.binds._replace(stream="[red]\x1b[2J"), notes=("\x1b[2J",))
    assert "\x1b" not in text_of(nasty)
