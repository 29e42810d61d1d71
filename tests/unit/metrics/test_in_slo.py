"""What a share in SLO decides, whatever becomes of those without a verdict."""

import itertools

import pytest

from factorysim.metrics.in_slo import (
    NOBODY,
    InSlo,
    Verdict,
    counted,
    met_or_why,
    pooled,
    verdicts,
    worst,
)


@pytest.mark.parametrize("attain", [0.0, 0.25, 0.5, 0.9, 0.95, 1.0])
def test_a_judgement_stands_whatever_becomes_of_the_rest(attain):
    """By going through all ends that the rest can come to."""
    for total in range(1, 9):
        for known, met in ((k, m) for k in range(total + 1) for m in range(k + 1)):
            ends = {(met + more) / total >= attain for more in range(total - known + 1)}
            open_ = "so_far" if known and met / known >= attain else "undecided"
            expected = {(True,): "met", (False,): "missed"}.get(tuple(ends), open_)
            assert counted(met, known, total).judged(attain) == expected


@pytest.mark.parametrize("attain", [0.5, 0.9, 0.95, 0.99, 1.0])
def test_hardly_less_than_was_asked_for_is_not_enough(attain):
    """Only the rounding of a mean is forgiven."""
    for lacking, met in ((0.0, True), (1e-12, True), (1e-6, False), (1e-3, False)):
        share = attain - lacking
        assert InSlo(share, share, share).judged(attain) == ("met" if met else "missed")
        open_ = InSlo(share, 0.1, 1.0).judged(attain)
        assert open_ == ("so_far" if met else "undecided")


def test_where_all_have_a_verdict_the_bounds_are_the_share():
    for total in range(1, 30):
        for met in range(total + 1):
            found = counted(met, total, total)
            assert found.least == found.share == found.most
            assert found.open == 0.0


def test_who_has_no_sessions_is_not_judged():
    assert counted(0, 0, 0) is NOBODY
    assert NOBODY.judged(0.5) == "unknown"
    assert NOBODY.open == 0.0
    assert Verdict("a", 0.5, NOBODY).margin == 0.0
    assert pooled([NOBODY, counted(3, 4, 4)]) == counted(3, 4, 4)
    assert pooled([]) == NOBODY


def test_replications_weigh_alike():
    one, other = counted(1, 2, 4), counted(80, 80, 100)
    assert pooled([one, other]) == InSlo((0.5 + 1.0) / 2, (0.25 + 0.8) / 2, (0.75 + 1.0) / 2)


def test_a_replication_of_which_nobody_has_ended_can_turn_a_share():
    assert pooled([counted(9, 9, 9), counted(0, 0, 9)]) == InSlo(1.0, 0.5, 1.0)


def test_only_streams_that_ask_for_something_are_judged():
    nothing = {"ttft": None, "tpot": None, "turn": None, "session": None, "attain": 0.95}
    share = {"share": 1.0, "least": 0.5, "most": 1.0}
    slos = {"free": {**nothing, **share}, "asks": {**nothing, **share, "turn": 2.0}}
    (found,) = verdicts(slos)
    assert (found.stream, found.judgement) == ("asks", "so_far")


def test_margins_count_what_is_sure():
    of = {"missed": counted(1, 8, 10), "met": counted(9, 9, 10), "so_far": counted(5, 6, 10),
          "undecided": counted(4, 7, 10)}  # fmt: skip
    margins = {word: Verdict("a", 0.7, one).margin for word, one in of.items()}
    assert {word: Verdict("a", 0.7, one).judgement for word, one in of.items()} == {
        word: word for word in of
    }
    sure = {"missed": 0.3, "met": 0.9, "so_far": 0.5, "undecided": 0.4}
    assert margins == pytest.approx({word: share - 0.7 for word, share in sure.items()})


def test_the_worst_of_streams_decides():
    order = ("missed", "undecided", "so_far", "met", "unknown")
    for one, other in itertools.combinations_with_replacement(order, 2):
        assert worst([one, other]) == worst([other, one]) == one


def test_all_is_met_or_it_is_said_why_that_is_open():
    """Of what is open the most is told, but only of the streams whose verdict it is."""
    met, missed = (counted(9, 9, 9), "met"), (counted(1, 9, 9), "missed")
    unsure, worse = (counted(5, 8, 10), "undecided"), (counted(3, 5, 10), "undecided")
    so_far = counted(1, 1, 10), "so_far"
    assert met_or_why([met, met]) == (1.0, "")
    assert met_or_why([met, missed, so_far]) == (0.0, "")
    assert met_or_why([(NOBODY, "unknown")]) == (None, "no session has a verdict")
    told = "not decided: 50.0% of a stream's sessions were still under way"
    assert met_or_why([met, so_far, unsure, worse]) == (None, told)
