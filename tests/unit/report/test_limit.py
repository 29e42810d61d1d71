"""A capacity in the terminal: the verdict first, eighty columns, nothing obeyed."""

import io

from rich.console import Console

from factorysim.metrics.inputs import Window
from factorysim.report.limit import ROWS_MOST, capacity_report, verdict
from factorysim.run.warmup import WarmUp
from factorysim.study.attained import Attained, Point
from factorysim.study.capacity import Binds, Capacity

NAME, OVER = "a-stream-of-a-long-name", "overloaded"


def point(rate, share=0.9):
    seen = {NAME: Attained(share, share, share, 0.95, 100, (share,), {"ttft": 1 - share})}
    return Point(rate / 2, rate, share >= 0.95, seen, "steady", 0.5, "gpu: KV")


FOUND = Capacity(
    "mine", (NAME, "chat"), "sessions/s", 2.0, 5.8, 5.9, 5.5, 6.1, 5, None, (0.1, 100.0), 0.02,
    Binds(NAME, "ttft", 1.0, 0.06, 0.94, 0.95), "gpu: KV", 0.71,
    tuple(point(4.0 + r / 10, 0.96 if r <= 18 else 0.94) for r in range(40)),
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
        f"2.90 times the scenario's rate; binds: TTFT of {NAME} (1.00 s)"
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
    both = FOUND._replace(rate=4.0, points=(point(4.0, 0.98), point(5.0, 0.94)))
    rows = [line.split() for line in text_of(both).splitlines() if line.startswith(("4.", "5."))]
    assert rows[0] == ["4.00", "2.00", "yes", NAME, "98.0", "%", "95.0", "%", "50.0", "%"]
    assert rows[1] == ["5.00", "2.50", "no", NAME, "94.0", "%", "95.0", "%", "50.0", "%"]


def test_what_sessions_under_way_could_turn_is_not_told_as_sure():
    def seen(rate, share, least, most, state="steady"):
        one = Attained(share, least, most, 0.95, 100, (share,), {"ttft": 0.1})
        return point(rate, share)._replace(streams={NAME: one}, overload=state)

    points = (seen(4.0, 0.98, 0.6, 0.99), seen(5.0, 0.94, 0.6, 0.96), seen(6.0, 0.99, 0.9, 1, OVER))
    some = FOUND._replace(rate=4.0, points=points)
    assert str(verdict(some)).startswith("Sustains 4.00 sessions/s inside its SLOs so far (5.50 to")
    rows = [line.split() for line in text_of(some).splitlines() if line.startswith(tuple("456"))]
    assert [row[2:-6] for row in rows] == [["so", "far", NAME], ["open", NAME], ["no", NAME]]


def test_names_are_not_obeyed():
    nasty = FOUND._replace(binds=FOUND.binds._replace(stream="[red]\x1b[2J"), notes=("\x1b[2J",))
    assert "\x1b" not in text_of(nasty)
