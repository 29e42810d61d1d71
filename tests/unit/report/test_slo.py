"""SLOs in words: a few lines however many streams there are, and no more than a run can tell."""

import pytest

from factorysim.metrics.in_slo import counted
from factorysim.report.slo import ALL, WORST, badge, slo_lines, told_apart


def asks(found, attain=0.95):
    limits = {"ttft": 2.0, "tpot": None, "turn": None, "session": None, "attain": attain}
    return limits | found._asdict()


MET, MISSED, OPEN = (asks(counted(*c)) for c in ((99, 100, 100), (50, 90, 100), (34, 34, 100)))
UNSURE = asks(counted(30, 34, 100))
NOBODY = asks(counted(0, 0, 0))
FREE = asks(counted(0, 0, 10)) | {"ttft": None}


@pytest.mark.parametrize(
    ("slos", "text", "state"),
    [
        ([MET], "The SLO is met", "good"),
        ([MET, MET], "All 2 SLOs met", "good"),
        ([MISSED, OPEN, MET], "1 of 3 SLOs missed", "bad"),
        ([MISSED], "The SLO is missed", "bad"),
        ([UNSURE], "Not decided: 66.0 % of the sessions were still under way", "unknown"),
        ([OPEN], "Met so far: 66.0 % of the sessions were still under way", "unknown"),
        ([OPEN, MET], "1 of 2 SLOs met so far: up to 66.0 % of sessions were still under way",
         "unknown"),
        ([OPEN, UNSURE], "1 of 2 SLOs not decided: up to 66.0 % of sessions were still under way",
         "unknown"),
        ([NOBODY, MET], "1 of 2 SLOs met; of the other streams no session came", "good"),
        ([NOBODY, NOBODY], "No session came that has an SLO", "unknown"),
        ([FREE], "No SLO was asked for", "plain"),
    ],
)  # fmt: skip
def test_a_badge_is_green_only_where_all_is_decided(slos, text, state):
    assert badge({f"s{n}": slo for n, slo in enumerate(slos)}) == (text, state)


def test_what_is_not_decided_is_told_with_its_bounds():
    (line,) = slo_lines({"code": UNSURE})
    assert line.head == "SLO not decided"
    assert line.text == (
        "30.0 % to 96.0 % of code sessions, as 66.0 % were still under way; "
        "95.0 % wanted (TTFT 2.00 s)"
    )
    assert line.state == "unknown"


def test_what_is_met_so_far_is_told_with_how_many_are_open():
    (line,) = slo_lines({"code": OPEN})
    assert line.head == "SLO met so far"
    assert line.text == (
        "100 % of code sessions with a verdict; 66.0 % were still under way; "
        "95.0 % wanted (TTFT 2.00 s)"
    )
    assert line.state == "unknown"


def test_a_few_streams_come_as_in_the_scenario():
    slos = {"z": MET, "y": MISSED, "x": OPEN, "v": UNSURE, "free": FREE, "w": NOBODY}
    assert [line.head for line in slo_lines(slos)] == [
        "SLO met", "SLO missed", "SLO met so far", "SLO not decided", "SLO unknown",
    ]  # fmt: skip


def test_of_many_streams_the_worst_are_told_and_the_others_counted():
    slos = {f"met{n}": asks(counted(960 + n, 1000, 1000)) for n in range(30)}
    slos |= {f"missed{n}": asks(counted(100 * n, 1000, 1000)) for n in range(1, 4)}
    slos |= {f"open{n}": asks(counted(900 - n, 900 - n, 1000)) for n in range(4)}
    lines = slo_lines(slos)
    assert len(lines) == WORST + 1 <= ALL
    names = [line.text.partition(" sessions")[0].rpartition(" ")[2] for line in lines[:-1]]
    assert names == ["missed1", "missed2", "missed3", "open3", "open2"]
    assert lines[-1].text == "of 32 more streams: 2 met so far, 30 met"
    assert lines[-1].state == "unknown"
    shown, rest = told_apart(slos)
    assert shown == lines[:-1]
    assert [line.head for line in rest] == ["SLO met so far"] * 2 + ["SLO met"] * 30
    assert "of met0 sessions" in rest[2].text, "the least room comes first"


def test_sessions_under_way_are_told_where_they_turn_nothing():
    settled = asks(counted(97, 98, 100))
    (met,), (missed,) = (slo_lines({"code": slo}) for slo in (settled, MISSED))
    assert met.text == (
        "99.0 % of code sessions, 95.0 % wanted (TTFT 2.00 s); 2.0 % were still under way, "
        "which cannot turn it"
    )
    assert missed.text.endswith("; 10.0 % were still under way, which cannot turn it")
    (all_ended,) = slo_lines({"code": MET})
    assert "under way" not in all_ended.text


@pytest.mark.parametrize(("total", "told"), [(1950, True), (2100, False)])
def test_what_turns_nothing_is_told_from_one_session_in_two_thousand_on(total, told):
    (line,) = slo_lines({"code": asks(counted(total - 1, total - 1, total))})
    assert ("were still under way" in line.text) == told


def test_a_line_is_coloured_and_worded_by_its_verdict():
    slos = {
        "a": MET | {"tpot": 0.05, "turn": 60.0},
        "b": MISSED,
        "c": asks(counted(0, 0, 10), attain=0.0),
    }
    good, bad, free = slo_lines(slos)
    assert (good.state, bad.state) == ("good", "bad")
    assert (
        good.text == "99.0 % of a sessions, 95.0 % wanted (TTFT 2.00 s, TPOT 50.0 ms, turn 60.0 s)"
    )
    assert bad.text.startswith("55.6 % of b sessions met it, 95.0 % wanted")
    assert free.text.startswith("0.0 % of c sessions, 0.0 % wanted"), "no session has a verdict"


def test_nobody_asks_for_anything():
    assert (
        slo_lines({"free": FREE}) == slo_lines({}) == [("SLO", "no stream asks for any", "plain")]
    )


def test_six_streams_are_told_one_by_one_and_of_seven_the_worst_five():
    six = {f"s{n}": NOBODY if n == 1 else MET for n in range(6)}
    assert [line.head for line in slo_lines(six)] == ["SLO met", "SLO unknown"] + ["SLO met"] * 4
    *worst, others = slo_lines(six | {"s6": MISSED, "free": FREE})
    assert [line.head for line in worst] == ["SLO missed", "SLO unknown"] + ["SLO met"] * 3
    assert others == ("SLOs", "of 2 more streams: 2 met", "good")
    assert {line.state for line in worst if line.head == "SLO unknown"} == {"unknown"}
    many = {f"m{n}": MISSED for n in range(6)} | {f"n{n}": NOBODY for n in range(2)}
    assert slo_lines(many)[-1] == ("SLOs", "of 3 more streams: 1 missed, 2 unknown", "bad")


def test_a_badge_tells_the_most_that_is_open_and_could_turn_it():
    slos = {"a": OPEN, "b": asks(counted(30, 30, 40)), "c": asks(counted(39, 39, 100), attain=0.3)}
    assert badge(slos)[0] == "2 of 3 SLOs met so far: up to 66.0 % of sessions were still under way"
    slos = {"b": asks(counted(30, 30, 40)), "c": asks(counted(34, 34, 100), attain=0.3)}
    assert badge(slos)[0] == "1 of 2 SLOs met so far: up to 25.0 % of sessions were still under way"


def test_a_share_just_short_of_what_is_wanted_does_not_read_like_it():
    just = asks(counted(9996, 10_000, 10_000), attain=1.0)
    (line,) = slo_lines({"code": just})
    assert line.text.startswith("99.96 % of code sessions met it, 100.00 % wanted")
