"""A DPU's cores and its port against queueing theory."""

from __future__ import annotations

import numpy as np
import pytest

from factorysim.physics.io_work import IoCost
from factorysim.sim.clock import ARRIVAL, Clock
from factorysim.sim.io_cores import IoCores, Load
from factorysim.spec.io_work import IoWorkSpec
from factorysim.theory import md1_wait, mg1_ps_sojourn
from tests.unit.sim.io_builders import COSTS, factory

FS = 10**15
RUNS, JOBS = 20, 600


def sojourns(
    rate: float, sizes: np.ndarray, seed: int, *, byte_s: float, line: float
) -> np.ndarray:
    """Seconds that each message of so many bytes is with a DPU of one core."""
    clock = Clock()
    made = factory(dpu_cores=1, line=line, dpu_costs={**COSTS, "packets": IoCost(byte_s, 0, 1e9)})
    assert made.io is not None
    io = IoCores(clock, made, made.io, IoWorkSpec(packets="dpu"), lambda rows: None, 1e6, 1)
    at_fs = np.cumsum(np.random.default_rng(seed).exponential(1 / rate, len(sizes))) * FS
    took = np.zeros(len(sizes))

    def begin(number: int) -> None:
        since_fs = clock.now_fs

        def end(_value: object) -> None:
            took[number] = (clock.now_fs - since_fs) / FS

        io.work(
            1, [Load("packets", float(sizes[number]))], outward=True, priority=ARRIVAL, then=end
        )

    for number, when in enumerate(at_fs.tolist()):
        clock.at(int(when), ARRIVAL + number, begin, number)
    clock.run_until(int(at_fs[-1]) + 1000 * FS)
    assert io.dpus is not None
    line_ = io.dpus.line()
    assert line_.area_s == pytest.approx(line_.sojourn_s, rel=1e-12)  # Little's law
    return took[len(took) // 5 :]


def mean_of_runs(kind: str, load: float, *, byte_s: float, line: float) -> tuple[float, float]:
    """Mean over runs, and three standard errors of it; sizes of mean 1 B."""
    means = []
    for seed in range(RUNS):
        draw = np.random.default_rng([seed, 7])
        if kind == "deterministic":
            sizes = np.ones(JOBS)
        else:  # a hyperexponential of cv 2: few long ones
            long = draw.random(JOBS) < 0.1
            sizes = draw.exponential(np.where(long, 6.0, 4.0 / 9.0))
        means.append(float(sojourns(load, sizes, seed, byte_s=byte_s, line=line).mean()))
    return float(np.mean(means)), 3 * float(np.std(means, ddof=1)) / RUNS**0.5


@pytest.mark.parametrize("kind", ["deterministic", "spread"])
def test_a_core_of_a_dpu_is_shared_as_m_g_1_ps(kind):
    """Kleinrock II, 4.4: the mean depends on the load alone, whatever the law of the sizes."""
    mean, half_width = mean_of_runs(kind, 0.6, byte_s=1.0, line=1e18)
    assert half_width < 0.5  # else the test could not fail
    assert abs(mean - mg1_ps_sojourn(0.6, 1.0)) < half_width


def test_the_port_of_a_dpu_is_m_d_1():
    """Messages of one size, which its cores do in no time: they wait for each other's bytes."""
    mean, half_width = mean_of_runs("deterministic", 0.7, byte_s=1e-9, line=1.0)
    assert half_width < 0.2
    assert abs(mean - 1.0 - md1_wait(0.7, 1.0)) < half_width
