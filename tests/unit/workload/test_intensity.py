"""Rates that change: where a profile stands in its week, how states begin and last."""

from itertools import islice

import numpy as np
import pytest

from factorysim.spec.arrivals import MmppArrivals, PoissonArrivals
from factorysim.workload.intensity import Piece, inverted, mean_pieces, pieces_of

MMPP = MmppArrivals.model_validate(
    {
        "process": "mmpp",
        "states": {
            "calm": {"rate": "1/s", "sojourn": "20 s"},
            "busy": {"rate": "6/s", "sojourn": "4 s"},
        },
    }
)


def test_a_linear_profile_has_the_level_of_an_hour_in_its_middle():
    hours = [1.0, 3.0] * 12
    profile = {"hours": hours, "between": "linear"}
    spec = PoissonArrivals.model_validate(
        {"process": "poisson", "rate": "1/s", "profile": profile, "start": "30 min"}
    )
    first, second = islice(mean_pieces(spec), 2)
    assert first == pytest.approx((3600.0, 0.5, 1.5))
    assert second == pytest.approx((3600.0, 1.5, 0.5))


def test_the_instants_of_a_slope_are_exact():
    """Of a rate that grows as t: the cumulative rate is t^2 / 2."""
    found = list(inverted(iter([0.5, 2.0, 4.5]), iter([Piece(10.0, 0.0, 10.0)]), 1.0))
    assert found == pytest.approx([1.0, 2.0, 3.0])


def test_states_last_as_long_as_they_say():
    pieces = list(islice(pieces_of(MMPP, 3, 0, "s"), 40_000))
    for level, sojourn_s in ((1.0, 20.0), (6.0, 4.0)):
        held = [p.length_s for p in pieces if p.begin == pytest.approx(level / MMPP.rate)]
        assert abs(np.mean(held) / sojourn_s - 1) < 4 / len(held) ** 0.5 < 0.03


def test_the_first_state_is_drawn_by_the_time_that_each_has():
    calm = [next(pieces_of(MMPP, seed, 0, "s")).begin < 1 for seed in range(2000)]
    share = 20 / 24
    assert abs(np.mean(calm) - share) < 4 * (share * (1 - share) / len(calm)) ** 0.5
