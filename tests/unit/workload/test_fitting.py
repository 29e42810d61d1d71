"""Processes fitted to the arrivals of a trace."""

from itertools import islice

import numpy as np
import pytest

from factorysim.errors import TraceError
from factorysim.spec.arrivals import FittedArrivals, GammaArrivals, PoissonArrivals, WeibullArrivals
from factorysim.spec.stream import StreamSpec
from factorysim.workload.arrivals import arrival_times
from factorysim.workload.demand import build_demand
from factorysim.workload.fitting import fit_renewal, fitted

N = 8000


def times(spec, seed=1):
    return list(islice(arrival_times(spec, seed, 0, "s"), N))


@pytest.mark.parametrize("cv", [0.6, 1.0, 2.5])
def test_gamma_arrivals_are_known_again(cv):
    found = fit_renewal(times(GammaArrivals(process="gamma", rate="4/s", cv=cv)))
    assert abs(found.rate / 4.0 - 1) < 4 * cv / np.sqrt(N)
    # Fisher information of a gamma shape k: psi'(k) - 1/k, and cv = k ** -1/2.
    from scipy.special import polygamma

    shape = cv**-2
    error = 0.5 * cv / shape / np.sqrt(N * (float(polygamma(1, shape)) - 1 / shape))
    assert abs(found.cv - cv) < 4 * error
    assert found.family == "gamma" or cv == 1.0


@pytest.mark.parametrize("shape", [0.5, 1.8])
def test_weibull_arrivals_are_known_again(shape):
    found = fit_renewal(times(WeibullArrivals(process="weibull", rate="4/s", shape=shape)))
    assert found.family == "weibull"
    assert found.gain > 0
    truth = {0.5: np.sqrt(5.0), 1.8: 0.5751}[shape]
    assert found.cv == pytest.approx(truth, rel=0.06)


def test_a_grid_of_times_hides_less_of_a_burst_than_zeros_do():
    """On a grid as wide as a gap most densities of the gaps would be infinite."""
    exact = times(GammaArrivals(process="gamma", rate="4/s", cv=2.0))
    coarse = [at // 10**8 * 10**8 for at in exact]
    found = fit_renewal(coarse, "gamma")
    assert found.at_once > 0.4
    assert found.cv == pytest.approx(2.0, rel=0.15)


def trace(tmp_path, listed):
    path = tmp_path / "t.jsonl"
    rows = (
        f'{{"timestamp": {round(at / 1e6)}, "input_length": 9, "output_length": 1}}\n'
        for at in listed
    )
    path.write_text("".join(rows))
    return path


def test_a_stream_is_given_arrivals_like_its_trace_s(tmp_path):
    path = trace(tmp_path, times(GammaArrivals(process="gamma", rate="4/s", cv=2.0)))
    spec = StreamSpec.model_validate(
        {"llm": "l", "trace": str(path), "speed": 3.0, "arrivals": {"process": "fitted"}}
    )
    found = fitted("s", spec, spec.arrivals)
    assert found.rate == pytest.approx(12.0, rel=4 * 2.0 / np.sqrt(N))
    assert found.cv == pytest.approx(2.0, rel=0.1)
    assert fitted("s", spec, found) is found
    seen = build_demand("s", spec, seed=7, replication=0, trace_path=path).sessions()
    drawn = arrival_times(found, 7, 0, "s")
    assert [one.at_ns for one in islice(seen, 50)] == list(islice(drawn, 50))


def test_what_is_given_stays(tmp_path):
    path = trace(tmp_path, times(PoissonArrivals(process="poisson", rate="4/s")))
    spec = StreamSpec.model_validate(
        {
            "llm": "l",
            "trace": str(path),
            "arrivals": {"process": "fitted", "family": "weibull", "rate": "9/s"},
        }
    )
    found = fitted("s", spec, spec.arrivals)
    assert (found.family, found.rate) == ("weibull", 9.0)
    assert found.cv == pytest.approx(1.0, abs=0.05)


@pytest.mark.parametrize(
    ("listed", "message"), [([0] * 20, "20 sessions that all come at once"), ([1, 2], "2 sessions")]
)
def test_a_trace_without_a_clock_is_refused_with_the_cure(tmp_path, listed, message):
    path = trace(tmp_path, listed)
    spec = StreamSpec.model_validate(
        {"llm": "l", "trace": str(path), "arrivals": {"process": "fitted"}}
    )
    with pytest.raises(TraceError, match=message) as bad:
        fitted("s", spec, FittedArrivals(process="fitted"))
    assert "process: gamma" in str(bad.value)
