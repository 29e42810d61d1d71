"""Jobs over processes: errors arrive as themselves, a dead worker is told."""

import os
import signal

import pytest

from factorysim.errors import AuditError, Fault, SimulationError, SpecError
from factorysim.metrics.inputs import Window
from factorysim.run import workers
from factorysim.run.replication import Job
from factorysim.run.warmup import PILOT_NUMBER
from tests.unit.run.builders import mm1


def pilots(count, scenario=None):
    text = (scenario or mm1()).model_dump_json(by_alias=True)
    return [Job(text, PILOT_NUMBER + i, Window(0.0, 50.0), 50.0, 50.0, None) for i in range(count)]


@pytest.mark.slow
def test_outcomes_do_not_depend_on_the_process():
    here = list(workers.run_jobs(pilots(3), 1, None, None))
    apart = sorted(workers.run_jobs(pilots(3), 2, None, None), key=lambda o: o.replication)
    assert apart == here
    assert len({tuple(outcome.presence[0]) for outcome in here}) == 3


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_error_of_a_worker_is_the_users(count):
    scenario = mm1()
    stream = scenario.streams["calls"].model_copy(update={"calls": None, "agent": "no_such"})
    bad = scenario.model_copy(update={"streams": {"calls": stream}})
    with pytest.raises(SpecError, match="no_such"):
        list(workers.run_jobs(pilots(2, bad), count, None, None))


@pytest.mark.parametrize("count", [1, pytest.param(2, marks=pytest.mark.slow)])
def test_an_outcome_may_bring_on_other_jobs(count):
    """Two chains of three jobs; each ends by itself, on whatever worker is free."""
    told = []

    def then(outcome):
        told.append(outcome.replication)
        following = outcome.replication + 10
        return [jobs[0]._replace(replication=following)] if following < PILOT_NUMBER + 30 else []

    jobs = pilots(2)
    yielded = [o.replication for o in workers.run_jobs(jobs, count, None, None, then)]
    assert yielded == told
    assert sorted(yielded) == [PILOT_NUMBER + n for n in (0, 1, 10, 11, 20, 21)]


def test_outcomes_bear_the_key_of_their_job():
    jobs = [job._replace(key=number) for number, job in enumerate(pilots(2), 5)]
    assert [outcome.key for outcome in workers.run_jobs(jobs, 1, None, None)] == [5, 6]


def test_progress_names_the_replication():
    told = []
    list(workers.run_jobs(pilots(2), 1, lambda *what: told.append(what), None))
    assert all(number >= PILOT_NUMBER for number, _, _ in told)


def test_a_worker_that_dies_is_told(monkeypatch):
    genuine = workers._start

    def doomed():
        process = genuine()
        os.kill(process.pid, signal.SIGKILL)
        return process

    monkeypatch.setattr(workers, "_start", doomed)
    with pytest.raises(SimulationError, match="exit code -9"):
        list(workers.run_jobs(pilots(2), 2, None, None))


def a_policy(view):
    return 0


def test_what_cannot_travel_stays_here():
    assert workers._can_travel(None)
    assert workers._can_travel({"router": a_policy})
    assert not workers._can_travel({"router": lambda view: 0})


def test_errors_survive_the_way():
    class LocalError(Exception):
        pass

    fault = Fault("a.yaml:1", "x", "y", "z")
    assert workers._portable(SpecError(fault)).faults == (fault,)
    assert isinstance(workers._portable(AuditError("law")), AuditError)
    assert "LocalError" in str(workers._portable(LocalError("lost")))
