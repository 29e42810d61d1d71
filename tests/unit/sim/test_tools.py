"""Tool hosts: rates, admission, order, and what they write down."""

from __future__ import annotations

import pytest

from factorysim.graph.plan import HostPlan, ToolPlan
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.tools import ToolJob, ToolStation

FS = 10**15


def host(*, cores=1, threads=None, speed=1.0, memory=1e9):
    return HostPlan(0, 0, cores, threads or cores, speed, memory, 0, 1e9, 50.0, 150.0)


class Bench:
    """A station, jobs submitted at given seconds, and the order in which they leave."""

    def __init__(self, *hosts, discipline="ps", smt_yield=1.0, on_busy=None):
        self.env = Clock()
        self.done: list[ToolJob] = []
        plan = ToolPlan("tools", "cpu", discipline, smt_yield, hosts)
        self.station = ToolStation(self.env, plan, self.done.append, on_busy=on_busy)

    def add(self, at_s, number, cpu_s, cores=1.0, memory_bytes=0.0):
        job = ToolJob(number, 0, cpu_s, cores, memory_bytes)
        at_fs, priority = round(at_s * FS), ARRIVAL + number
        self.env.at(at_fs, priority, self.station.submit, job)
        return job

    def run(self, until_s=1000.0):
        self.env.run_until(round(until_s * FS))
        return {job.number: job.finished_fs / FS for job in self.done}


def test_a_job_alone_takes_its_work_over_its_cores_and_speed():
    bench = Bench(host(cores=8, speed=1.25))
    bench.add(1.0, 1, 10.0, cores=4.0)
    assert bench.run() == {1: 1.0 + 10.0 / (4 * 1.25)}


def test_jobs_that_fit_do_not_feel_each_other():
    bench = Bench(host(cores=2))
    bench.add(0.0, 1, 1.0)
    bench.add(0.5, 2, 1.0)
    assert bench.run() == {1: 1.0, 2: 1.5}


@pytest.mark.parametrize("discipline", ["ps", "fcfs"])
def test_a_host_gives_what_jobs_of_a_third_of_a_core_ask_for(discipline):
    """Cores are counted in millionths: what is rounded away must not be missing from the work."""
    bench = Bench(host(cores=2), discipline=discipline)
    for number in range(5):
        bench.add(0.1 * number, number, 1.0, cores=1 / 3)
    bench.run()
    given, got = bench.station.work()
    assert got == pytest.approx(given, rel=1e-12)


def test_jobs_that_do_not_fit_share_by_cores():
    """Four cores, 4 + 2 asked: rates 4 * 4/6 and 2 * 4/6, until the second is done."""
    bench = Bench(host(cores=4))
    bench.add(0.0, 1, 8.0, cores=4.0)
    bench.add(0.0, 2, 2.0, cores=2.0)
    done = bench.run()
    assert done[2] == pytest.approx(1.5)
    assert done[1] == pytest.approx(1.5 + (8.0 - 1.5 * 4 * 4 / 6) / 4.0)


def test_a_job_wider_than_its_host_gets_all_of_it():
    bench = Bench(host(cores=2))
    bench.add(0.0, 1, 8.0, cores=8.0)
    assert bench.run() == {1: 4.0}


def test_second_threads_yield_once_the_cores_are_short():
    one = Bench(host(cores=2, threads=4), smt_yield=1.3)
    for number in range(4):
        one.add(0.0, number, 1.0)
    assert one.run()[3] == pytest.approx(4 / 2.6)
    without = Bench(host(cores=2), smt_yield=1.3)
    for number in range(4):
        without.add(0.0, number, 1.0)
    assert without.run()[3] == pytest.approx(2.0)


def test_a_yield_below_one_slows_only_where_cores_are_short():
    bench = Bench(host(cores=2, threads=4), smt_yield=0.8)
    bench.add(0.0, 1, 1.0, cores=2.0)
    assert bench.run() == {1: 0.5}


def test_fcfs_holds_whole_cores_and_blocks_at_the_head():
    bench = Bench(host(cores=3, threads=6), discipline="fcfs", smt_yield=1.3)
    bench.add(0.0, 1, 3.0, cores=1.5)  # holds 2, works with 1.5: till 2
    bench.add(0.0, 2, 1.0, cores=2.0)  # has to wait: 2 to 2.5
    bench.add(0.0, 3, 1.0)  # would fit, but is not first: 2 to 3
    assert bench.run() == {1: 2.0, 2: 2.5, 3: 3.0}


def test_fcfs_gives_a_wide_job_all_of_a_small_host():
    bench = Bench(host(cores=2), discipline="fcfs")
    bench.add(0.0, 1, 4.0, cores=8.0)
    assert bench.run() == {1: 2.0}


def test_memory_admits_in_order_of_arrival():
    bench = Bench(host(cores=8, memory=10.0))
    first = bench.add(0.0, 1, 2.0, memory_bytes=6.0)
    second = bench.add(0.1, 2, 1.0, memory_bytes=5.0)
    third = bench.add(0.2, 3, 1.0, memory_bytes=1.0)  # would fit beside the first
    assert bench.run() == {1: 2.0, 2: 3.0, 3: 3.0}
    assert [job.admitted_fs for job in (first, second, third)] == [0, 2 * FS, 2 * FS]


def test_jobs_that_wait_for_memory_count_when_a_host_is_chosen():
    bench = Bench(host(cores=4, memory=10.0), host(cores=4, memory=10.0))
    bench.add(0.0, 1, 4.0, memory_bytes=10.0)
    bench.add(0.0, 2, 100.0, cores=2.4)
    waits = [
        bench.add(0.1, 3, 9.0, memory_bytes=10.0),
        bench.add(0.2, 4, 9.0, cores=2.2, memory_bytes=10.0),
    ]
    last = bench.add(4.5, 5, 1.0)  # host 0: one core at work and 2.2 in line; host 1: 2.4
    bench.run()
    assert [job.host for job in waits] == [0, 0]
    assert last.host == 1


def test_a_job_larger_than_any_memory_is_rejected():
    bench = Bench(host(memory=10.0), host(memory=20.0))
    job = bench.add(1.0, 1, 1.0, memory_bytes=20.5)
    bench.run()
    assert (job.outcome, job.host, job.finished_fs) == ("rejected", -1, FS)
    assert bench.station.line()[2:6] == (1, 1, 0.0, 0.0)


def test_a_large_job_goes_where_it_can_ever_fit():
    bench = Bench(host(memory=10.0), host(memory=20.0))
    busy = bench.add(0.0, 1, 1.0, memory_bytes=20.0)
    small = bench.add(0.5, 2, 1.0)
    large = bench.add(0.5, 3, 1.0, memory_bytes=15.0)
    bench.run()
    assert (busy.host, small.host, large.host) == (1, 0, 1)


def test_the_least_loaded_host_waiting_included_ties_by_index():
    bench = Bench(host(cores=1, memory=1.0), host(cores=2, memory=1.0), host(cores=1, memory=1.0))
    jobs = [bench.add(0.0, number, 1.0, memory_bytes=1.0) for number in range(6)]
    bench.run()
    # Loads after each: (1,0,0) (1,.5,0) (1,.5,1) (1,1,1) (2,1,1) (2,1.5,1)
    assert [job.host for job in jobs] == [0, 1, 2, 1, 0, 1]


def test_ties_leave_in_order_of_number():
    bench = Bench(host(cores=2), host(cores=2))
    for number in (5, 3, 8, 1, 2):
        bench.add(0.0, number, 2.0)
    bench.run()
    one = [job.number for job in bench.done if job.host == 0]
    two = [job.number for job in bench.done if job.host == 1]
    assert one == sorted(one)
    assert two == sorted(two)


def test_a_job_without_work_leaves_at_once_and_touches_no_host():
    bench = Bench(host())
    job = bench.add(1.0, 1, 0.0)
    assert bench.run() == {1: 1.0}
    assert (job.outcome, job.host, job.admitted_fs) == ("completed", -1, FS)


def test_leaving_is_never_told_from_inside_submit():
    bench = Bench(host(memory=1.0))
    bench.station.submit(ToolJob(1, 0, 0.0))
    bench.station.submit(ToolJob(2, 0, 1.0, memory_bytes=2.0))
    assert bench.done == []
    assert bench.run() == {1: 0.0, 2: 0.0}


def test_the_next_job_may_be_submitted_from_the_end_of_the_last():
    env = Clock()
    times: list[int] = []

    def again(job: ToolJob) -> None:
        times.append(env.now_fs)
        if job.number < 3:
            station.submit(ToolJob(job.number + 1, 0, 1.0))

    station = ToolStation(env, ToolPlan("t", "c", "ps", 1.0, (host(),)), again)
    station.submit(ToolJob(1, 0, 1.0))
    env.run_until(10 * FS)
    assert times == [FS, 2 * FS, 3 * FS]


def test_littles_law_holds_to_the_femtosecond_with_jobs_in_flight():
    bench = Bench(host(cores=2, memory=3.0))
    for number in range(6):
        bench.add(0.3 * number, number, 1.7, memory_bytes=1.0)
    bench.run(2.9)
    line = bench.station.line()
    assert line.area_s == line.sojourn_s > 0
    assert line.arrivals == 6
    assert line.arrivals - line.departures == len(list(bench.station.in_flight())) > 0


def test_a_job_that_gets_lost_breaks_littles_law():
    bench = Bench(host(cores=2))
    bench.add(0.0, 1, 5.0)
    bench.run(2.0)
    bench.station._hosts[0].running.clear()
    line = bench.station.line()
    assert line.area_s != line.sojourn_s


def test_busy_intervals_add_up_to_the_busy_core_seconds():
    rows: list = []
    bench = Bench(host(cores=2), host(cores=2), on_busy=rows.extend)
    for number in range(9):
        bench.add(0.25 * number, number, 1.3, cores=1.5)
    bench.run(3.0)
    bench.station.flush()
    bench.station.flush()  # twice gives nothing twice
    busy = sum((finish - start) * cores for _, start, finish, cores in rows)
    assert busy == pytest.approx(bench.station.line().busy_s, rel=1e-12)
    assert max(cores for *_, cores in rows) == 2.0


def test_memory_without_an_end_is_counted_to_the_byte():
    """A cloud's: less what one job holds it is no number that a float can tell."""
    bench = Bench(host(memory=1 << 60))
    bench.add(0.0, 1, 2.0, memory_bytes=5e6)
    bench.station.keep_memory(0, 185_000_000)
    bench.run(1.0)
    assert bench.station.astray() == []
    assert bench.station.free_memory(0) == (1 << 60) - 190_000_000
