"""Power of a device from what its steps do: idle, active, and the two-resource activity model.

While a step runs a device draws ::

    P = idle + (peak - idle) * min(1, active + w_c*u_c + w_m*u_m + w_l*u_l)

where `u_c`, `u_m`, `u_l` are the shares of the step in which arithmetic (that of
sampling included), memory and links are busy, from the law that timed it, and
`active` is what a busy device draws whatever it does. The weights are facts of
the catalog (``efficiency.generic.GENERATION.power_*``), fitted to GPUs whose power
was measured. Published readings of decode conflict: 137-300 W of 700 W on an H200
(arXiv:2605.11999), 300-600 W of 700 W on an H100 (arXiv:2602.05116), 430-690 W in
the rows of the fit. A prompt reaches 0.85-1.0 of TDP (Splitwise, POLCA
arXiv:2308.12908), as here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.physics.speculation import tokens_a_step
from factorysim.physics.step import StepRuns

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device
    from factorysim.physics.step import Activity, PartnerSide, StepLaw

    Floats = npt.NDArray[np.float64]


class Weights(NamedTuple):
    """Share of the span from idle to peak that each kind of activity adds."""

    compute: float
    memory: float
    link: float
    active: float
    """Of any step, whatever it does."""

    def span_s(self, activity: Activity) -> Floats:
        """Seconds of the whole span that an activity is worth, `active` apart."""
        return (
            self.compute * (activity.compute_s + activity.engine_s)
            + self.memory * activity.memory_s
            + self.link * activity.link_s
        )


HOST = Weights(0.0, 0.0, 0.0, 0.0)
"""Of a host, whose draw is linear in its busy cores."""


class PowerModel(NamedTuple):
    """Draw of one device."""

    idle_w: float
    peak_w: float
    weights: Weights = HOST


def device_power(device: Device, efficiency: Efficiency) -> PowerModel:
    """Power of a device, with the weights of its generation."""
    weights = Weights(
        compute=efficiency.power_compute,
        memory=efficiency.power_memory,
        link=efficiency.power_link,
        active=efficiency.power_active,
    )
    return PowerModel(device.idle_w, device.tdp_w, weights)


def step_power(model: PowerModel, compute: float, memory: float, link: float, /) -> float:
    """Draw of a device inside a step, in watts.

    Parameters
    ----------
    compute, memory, link
        Shares of the step in which each is busy, 0 to 1.

    Examples
    --------
    >>> gpu = PowerModel(100.0, 700.0, Weights(0.75, 0.5, 0.1, 0.15))
    >>> step_power(gpu, 1.0, 0.2, 0.0), step_power(gpu, 0.1, 0.7, 0.0)  # a prompt, a decode
    (700.0, 445.0)
    """
    w = model.weights
    share = w.active + w.compute * compute + w.memory * memory + w.link * link
    return model.idle_w + (model.peak_w - model.idle_w) * min(1.0, share)


def host_power(model: PowerModel, busy: float) -> float:
    """Draw of a CPU host whose cores are busy for a share of the time, in watts.

    Linear between idle and peak, the usual first model of servers (Fan, Weber
    and Barroso, "Power provisioning for a warehouse-sized computer", ISCA 2007).

    Examples
    --------
    >>> host_power(PowerModel(100.0, 500.0), 0.25)
    200.0
    """
    return model.idle_w + (model.peak_w - model.idle_w) * busy


def run_energy(
    model: PowerModel,
    law: StepLaw | PartnerSide,
    runs: StepRuns,
    step_s: Floats,
    growth_s: Floats,
) -> Floats:
    """Energy above idle of one device over each run of steps, in joules.

    Every step of a run has its own duration and activity, both linear in its
    place in the run, so the energy is a sum of the smaller of two lines: exact,
    also where the clip at peak begins or ends inside a run. Only where some
    sequences still fill a sliding window, and the clip is crossed as well, is
    the windows' part of the activity spread evenly over the run.

    Parameters
    ----------
    runs
        Shape ``(runs,)``; steps of more than one chunk come one a run.
    step_s
        Seconds of the first step of each run.
    growth_s
        Seconds by which each next step is longer.

    Returns
    -------
    Shape ``(runs,)``. Add ``idle_w`` times the wall time for the total.
    """
    n = runs.steps.astype(np.float64)
    total = model.weights.span_s(law.activity(runs))
    first = model.weights.span_s(law.activity(first_steps(runs, tokens_a_step(law))))
    pairs = np.maximum(n * (n - 1) / 2, 1.0)
    growth = np.where(n > 1, (total - n * first) / pairs, 0.0)
    floor = model.weights.active
    busy = sum_of_smaller(n, step_s, growth_s, first + floor * step_s, growth + floor * growth_s)
    return (model.peak_w - model.idle_w) * busy


def first_steps(runs: StepRuns, growth: float = 1.0) -> StepRuns:
    """Recover the first step of each run from the sums over its steps.

    Context grows by `growth` tokens a sequence and a step, prior tokens by a chunk.
    """
    n = runs.steps
    tokens = runs.prompt_tokens // n
    grown = n * (n - 1) // 2
    prior = (runs.prior_tokens - tokens * grown) // n
    pairs = (runs.pair_tokens - tokens * tokens * grown) // n
    return StepRuns(
        steps=np.ones_like(n),
        decodes=runs.decodes,
        prompts=runs.prompts,
        prompt_tokens=tokens,
        emitted_tokens=(runs.emitted_tokens - runs.accepted_tokens) // n,
        context_tokens=(runs.context_tokens - runs.decodes * (grown * growth)) / n,
        window_tokens=runs.window_tokens / n,
        pair_tokens=pairs,
        prior_tokens=prior,
    )


def sum_of_smaller(n: Floats, a: Floats, da: Floats, b: Floats, db: Floats) -> Floats:
    """Sum over k = 0 .. n-1 of the smaller of ``a + da*k`` and ``b + db*k``.

    Examples
    --------
    >>> one = np.ones(1)
    >>> sum_of_smaller(3 * one, 2 * one, 0 * one, 1 * one, 1 * one)  # 1 + 2 + 2
    array([5.])
    """
    turn = np.divide(b - a, da - db, out=np.zeros_like(n), where=da != db)
    k = np.clip(np.ceil(turn), 0.0, n)
    middle, last = (k - 1) / 2, (k + n - 1) / 2
    head = k * np.minimum(a + da * middle, b + db * middle)
    tail: Floats = (n - k) * np.minimum(a + da * last, b + db * last)
    return head + tail
