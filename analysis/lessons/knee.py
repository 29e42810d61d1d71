"""Lesson 1: Little's law and the knee.

Why does a queue explode before it is full?

    marimo run analysis/lessons/knee.py
    python analysis/lessons/knee.py [--guess 5] [--picture knee.svg]
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Lesson 1: Little's law and the knee")

with app.setup:
    import functools
    from typing import NamedTuple

    import common
    import marimo as mo
    import numpy as np

    import factorysim as fs
    from factorysim import theory

    LOADS = (0.3, 0.5, 0.7, 0.8, 0.9)
    CALLS = {0.3: 400, 0.5: 600, 0.7: 1000, 0.8: 1600, 0.9: 3200}
    """Of a replication. The nearer the knee, the longer one wait follows from another."""
    LAWS = {"always the same": 0.0, "exponential": 1.0, "a few very long ones": 2.0}
    """Length of a call -> standard deviation over mean."""
    GUESSES = {
        "1.8 times as long": 1.8,
        "2.5 times as long": 2.5,
        "5 times as long": 5.0,
        "20 times as long": 20.0,
    }


@app.class_definition
class Point(NamedTuple):
    """What was simulated at one load; a value a replication."""

    load: float
    time_s: tuple[float, ...]
    """Mean time of a call, from its arrival to its answer."""
    present: tuple[float, ...]
    """Mean number of calls there, waiting or served, counted by the clock."""
    rate: tuple[float, ...]
    """Calls answered a second."""


@app.function
@functools.cache
def alone_s() -> float:
    """Seconds of a call that has an H100 to itself: 1,024 tokens in, 128 out."""
    return fs.predict("llama_3_1_8b", "h100_sxm", isl=1024, osl=128, concurrency=1).latency_s.mean


@app.function
@functools.cache
def simulate_load(load: float, servers: int, cv: float, replications: int) -> Point:
    """Simulate the queue `lessons/queue` at one utilization of its servers."""
    mean_s = alone_s()
    kind = {0.0: "deterministic", 1.0: "exponential"}.get(cv, "gamma")
    law = f"{{kind: {kind}, mean: {mean_s!r} s" + (f", cv: {cv}}}" if kind == "gamma" else "}")
    rate = load * servers / mean_s
    window_s = CALLS[load] / rate
    changes = [
        f"topology.racks.gpu.count={servers}",
        f"deployments.serve.replicas={servers}",
        f"deployments.serve.law.prompt={law}",
        f"streams.calls.arrivals.rate={rate!r} /s",
        f"run.window={window_s!r} s",
        f"run.warmup={0.2 * window_s!r} s",
        f"run.replications={replications}",
        f"run.seed={round(100 * load)}",  # else all loads would meet the same draws
    ]
    run = fs.simulate(fs.load("lessons/queue", changes), workers=1)
    waiting = common.of_replications(run, "queue.gpu.mean")
    busy = common.of_replications(run, "utilization.gpu")
    return Point(
        load,
        tuple(common.of_replications(run, "session_s.mean")),
        tuple(w + servers * b for w, b in zip(waiting, busy, strict=True)),
        tuple(common.of_replications(run, "calls.completed_per_s")),
    )


@app.function
def formula_s(load: float, servers: int, cv: float, mean_s: float) -> float:
    """Mean time of a call: M/M/k exactly, M/G/1 exactly, else Allen and Cunneen's estimate."""
    wait_s = theory.mmc_wait(load * servers / mean_s, mean_s, servers)
    return mean_s + wait_s * (1.0 + cv * cv) / 2.0


@app.function
def panels(found: list[Point], servers: int, cv: float) -> list[common.Panel]:
    """Draw the knee, and Little's law."""
    mean_s = alone_s()

    def knee(axes):
        loads = np.linspace(0.02, 0.95, 200)
        line = [formula_s(load, servers, cv, mean_s) for load in loads]
        axes.plot(loads * 100, line, color=common.BLUE, label="formula")
        times = [common.t_interval(point.time_s) for point in found]
        common.points(
            axes, [p.load * 100 for p in found], times, common.ORANGE, "o", "simulated, 95 %"
        )
        axes.axhline(mean_s, color=common.GREY, linewidth=1, linestyle=":", label="a call alone")
        axes.set(xlim=(0, 100), ylim=(0, 1.05 * line[-1]))
        axes.set(xlabel="Utilization of the servers (%)", ylabel="Mean time of a call (s)")

    def little(axes):
        products = [np.mean([r * t for r, t in zip(p.rate, p.time_s, strict=True)]) for p in found]
        counted = [common.t_interval(point.present) for point in found]
        ends = [0.7 * min(products), 1.4 * max(products)]
        axes.plot(ends, ends, color=common.BLUE, label="L = λ W")
        common.points(axes, products, counted, common.ORANGE, "o", "simulated, 95 %")
        axes.set(xscale="log", yscale="log", xlim=ends, ylim=ends)
        common.plain_ticks(axes.xaxis)
        common.plain_ticks(axes.yaxis)
        axes.set(xlabel="Rate x mean time, λ W (calls)", ylabel="Counted by the clock, L (calls)")

    return [
        common.Panel("The knee", "Time is flat at first, and rises steeply beyond 80 %.", knee),
        common.Panel("Little's law", "All points lie on the diagonal.", little),
    ]


@app.cell(hide_code=True)
def _():
    mo.md(f"""
    # Little's law and the knee

    **Question.** A replica answers one call at a time. A call that finds it free is answered in
    **{alone_s():.2f} s** (Llama 3.1 8B on an H100, 1,024 tokens in, 128 out). Calls come at
    random. While the replica is busy half of the time, a call takes {2 * alone_s():.2f} s on
    average, waiting included. Then traffic grows by a factor of 1.8, and the replica is busy 90 %
    of the time.

    How much longer does a call take than before?
    """)
    return


@app.cell(hide_code=True)
def _():
    guess_form = mo.ui.radio(GUESSES, label="My prediction").form(
        submit_button_label="Commit to it"
    )
    guess_form
    return (guess_form,)


@app.cell(hide_code=True)
def _(guess_form):
    guess = common.take_guess(guess_form.value, list(GUESSES.values()))
    mo.stop(guess is None, mo.md("*The answer comes after your guess.*"))
    servers_knob = mo.ui.slider(1, 8, value=1, label="Servers behind one queue", show_value=True)
    law_knob = mo.ui.dropdown(LAWS, value="exponential", label="Lengths of calls")
    mo.hstack([servers_knob, law_knob], justify="start", wrap=True, gap=2)
    return guess, law_knob, servers_knob


@app.cell(hide_code=True)
def _(guess, law_knob, servers_knob):
    servers, cv = servers_knob.value, law_knob.value
    repeated = common.replications(5)
    with mo.status.spinner(f"Simulating five loads, {repeated} replications each..."):
        found = [simulate_load(load, servers, cv, repeated) for load in LOADS]
    half, ninety = (found[LOADS.index(load)] for load in (0.5, 0.9))
    grown = formula_s(0.9, servers, cv, alone_s()) / formula_s(0.5, servers, cv, alone_s())
    told = [common.told(common.t_interval(point.time_s), "s") for point in (half, ninety)]
    answer = (
        f"{common.verdict(guess, grown, 'times')} At 50 % a call takes {told[0]}, at 90 % "
        f"{told[1]}; the formula says {grown:.1f} times as long."
    )
    mo.md(f"## What happened\n\n{answer}")
    return answer, cv, found, servers


@app.cell(hide_code=True)
def _(cv, found, servers):
    drawings = panels(found, servers, cv)
    common.picture(drawings)
    return (drawings,)


@app.cell(hide_code=True)
def _(found):
    assert found  # shown with the answer, not before it
    mo.md(rf"""
    ## Why the curve bends

    A queue forms because calls are irregular, not because there are too many. At 90 % the replica
    has 10 % of its time to spare. Every clump of calls must be worked off in that spare time, and
    when it has gone down to 5 %, the same clump lasts twice as long. So waiting grows as **1 /
    spare time**. With one server, random arrivals and exponential lengths (M/M/1):

    $$W = \frac{{S}}{{1 - \rho}}$$

    where a call alone takes $S = {alone_s():.2f}$ s, and $\rho$ is the utilization. At 50 % that
    is $2S$, at 80 % $5S$, at 90 % $10S$. Nothing breaks at the knee: the curve is the same
    hyperbola all along. The slowest 1 % fare worse: their time is $\ln 100 = 4.6$ times the mean.

    **Lengths.** If their standard deviation is $c$ times their mean, waiting is multiplied by
    $(1 + c^2)/2$ (Pollaczek and Khinchine): half if all are alike, 2.5 times if $c = 2$. With
    several servers and $c \neq 1$ the line is an estimate (Allen and Cunneen), not exact.

    **More servers** behind *one* queue bend later: a call waits only if all are busy.

    **Little's law** holds for all of them. If $\lambda$ calls a second come and each stays $W$ s,
    then $L = \lambda W$ are there on average. It asks nothing of arrivals, lengths or order. The
    right picture compares both sides: the simulator counts calls there by its clock, and measures
    their times one by one.

    The bars are 95 % intervals of five replications. They widen towards the knee, though the
    points there were given eight times as many calls: waits follow from each other for longer.

    ## Exercise

    1. Calls may take at most $4S$ on average. How busy may one server be? Solve $1/(1-\rho) = 4$.
    2. Turn the knob to 8 servers. Read off how busy they may be for the same $4S$. Why is that
       more?
    3. A dashboard shows 40 calls in flight, and 16 arrive a second. How long does one take?

    /// details | Answers

    1. 75 %.
    2. 96 %. Whoever waits stands behind eight who finish eight times as often.
    3. 40 / 16 = 2.5 s, by Little's law.

    ///

    ## Sources

    J. D. C. Little, "A proof for the queuing formula L = λW", Operations Research 9 (1961). L.
    Kleinrock, *Queueing Systems* I (1975), sections 3.2 (M/M/1), 3.5 (M/M/k), 5.6 (M/G/1). A. O.
    Allen, *Probability, Statistics, and Queueing Theory*, 2nd edition (1990). The scenario is
    `lessons/queue`: `factorysim run lessons/queue` runs it. $S$ rests on these facts:

    {
        common.facts_list(
            (
                "accelerators.h100_sxm.memory_bandwidth",
                "accelerators.h100_sxm.flops.bf16",
                "llms.llama_3_1_8b.total_params",
                "efficiency.generic.hopper.weight_bandwidth",
            )
        )
    }
    """)
    return


@app.cell(hide_code=True)
def _(answer, cv, drawings, found, servers):
    rows = [
        (
            f"{point.load:.0%}",
            common.told(common.t_interval(point.time_s)),
            f"{formula_s(point.load, servers, cv, alone_s()):.3g}",
            common.told(common.t_interval(point.present)),
        )
        for point in found
    ]
    heads = ("busy", "time of a call (s)", "formula (s)", "calls there")
    common.report(answer, heads, rows, drawings)
    return


if __name__ == "__main__":
    app.run()
