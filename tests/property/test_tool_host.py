"""A tool host against a brute-force simulation in exact fractions."""

from __future__ import annotations

from fractions import Fraction
from math import ceil

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.graph.plan import HostPlan, ToolPlan
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.tools import ToolJob, ToolStation

FS = 10**15
CLOSE_FS = 1000
"""A part in 10**12 of a second: a job's work is a float, rounded to a femtosecond."""

jobs = st.lists(
    st.tuples(
        st.integers(0, 40),  # tenths of a second: ties are frequent
        st.integers(1, 30),  # tenths of a core-second
        st.sampled_from([0.5, 1.0, 1.5, 2.0, 6.0]),  # cores
        st.integers(0, 4),  # bytes
    ),
    min_size=1,
    max_size=12,
)


def simulate(work, plan):
    """Run it, and note how the number of jobs at work goes with their rates."""
    env = Clock()
    done: list[ToolJob] = []
    station = ToolStation(env, plan, done.append)
    for number, (at, cpu, cores, memory) in enumerate(work):
        job = ToolJob(number, 0, cpu / 10, cores, memory)
        env.at(at * FS // 10, ARRIVAL + number, station.submit, job)
    env.run_until(10**4 * FS)
    return sorted(done, key=lambda job: job.number), station.line()


def brute_force(work, host, discipline, smt_yield):
    """Finish and admission of each job: from event to event, rates anew each time."""
    fcfs = discipline == "fcfs"
    capacity = Fraction(host.cores)
    if not fcfs and host.threads > host.cores:
        capacity *= smt_yield
    held = [min(ceil(w[2]), host.cores) if fcfs else Fraction(w[2]) for w in work]
    rate = [min(Fraction(w[2]), h) for w, h in zip(work, held, strict=True)]
    left = [Fraction(w[1], 10) for w in work]
    arrivals = sorted(range(len(work)), key=lambda i: (work[i][0], i))
    now, running, waiting, admitted, finished = Fraction(0), [], [], {}, {}
    busy = Fraction(0)
    while arrivals or running:
        demand = sum(held[i] for i in running)
        slow = capacity / demand if demand > host.cores and demand > capacity else Fraction(1)
        speed = {i: rate[i] * slow * Fraction(host.speed) for i in running}
        ends = {i: now + left[i] / speed[i] for i in running}
        then = min([*ends.values(), *(Fraction(work[i][0], 10) for i in arrivals[:1])])
        for i in running:
            left[i] -= speed[i] * (then - now)
        busy += (then - now) * min(demand, host.cores)
        now = then
        for i in [i for i in running if ends[i] == now]:
            running.remove(i)
            finished[i] = now
        while arrivals and Fraction(work[arrivals[0]][0], 10) == now:
            waiting.append(arrivals.pop(0))
        while waiting:
            head = waiting[0]
            memory = sum(work[i][3] for i in running) + work[head][3]
            if memory > host.memory_bytes:
                break
            if fcfs and sum(held[i] for i in running) + held[head] > host.cores:
                break
            running.append(waiting.pop(0))
            admitted[head] = now
    return finished, admitted, busy


@settings(max_examples=150, deadline=None)
@given(
    jobs,
    st.integers(1, 4),
    st.booleans(),
    st.sampled_from(["ps", "fcfs"]),
    st.sampled_from([1.0, 1.25, 0.75]),
    st.integers(4, 8),
)
def test_a_host_agrees_with_brute_force(work, cores, threads, discipline, speed, memory):
    host = HostPlan(0, 0, cores, cores * (1 + threads), speed, memory, 0, 1e9, 0.0, 1.0)
    done, line = simulate(work, ToolPlan("t", "c", discipline, 1.25, (host,)))
    finished, admitted, busy = brute_force(work, host, discipline, Fraction(5, 4))
    assert [job.number for job in done] == list(range(len(work)))
    for job in done:
        assert abs(job.finished_fs - finished[job.number] * FS) <= CLOSE_FS
        assert abs(job.admitted_fs - admitted[job.number] * FS) <= CLOSE_FS
    assert line.area_s == line.sojourn_s
    assert abs(line.busy_s - float(busy)) <= 1e-9


@settings(max_examples=60, deadline=None)
@given(jobs, st.integers(1, 5))
def test_no_work_is_lost_or_done_twice(work, count):
    """Where the hosts have no second threads, busy core-seconds are the work itself."""
    host = HostPlan(0, 0, 8, 8, 1.0, 10**6, 0, 1e9, 0.0, 1.0)
    done, line = simulate(work, ToolPlan("t", "c", "ps", 1.25, (host,) * count))
    assert line.arrivals == line.departures == len(work)
    assert abs(line.busy_s - sum(cpu for _, cpu, _, _ in work) / 10) <= 1e-9
    assert all(0 <= job.host < count for job in done)
