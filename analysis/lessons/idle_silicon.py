"""Lesson 4: tools and idle silicon.

How many cores keep a GPU busy?

    marimo run analysis/lessons/idle_silicon.py
    python analysis/lessons/idle_silicon.py [--guess 0.25] [--picture idle-silicon.svg]
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Lesson 4: tools and idle silicon")

with app.setup:
    import functools
    import math
    from typing import NamedTuple

    import common
    import marimo as mo
    import numpy as np

    import factorysim as fs
    from factorysim import theory
    from factorysim.workload.tools import load_tools

    CORES = (2, 4, 8, 12, 16, 32)
    ROUNDS = 300
    """Of a replication; a round is a call and a build."""
    GUESSES = {"100 %": 1.0, "75 %": 0.75, "40 %": 0.4, "10 %": 0.1}


@app.class_definition
class Point(NamedTuple):
    """What was simulated with so many cores; a value a replication."""

    cores: int
    gpu_busy: tuple[float, ...]
    """Share of the time."""
    cores_busy: tuple[float, ...]
    rounds_per_s: tuple[float, ...]
    """Calls of the LLM that were answered a second."""


@app.class_definition
class Demand(NamedTuple):
    """What a round asks for."""

    call_s: float
    """Mean time of a call on the GPU."""
    build_s: float
    """Mean time of a build on an idle host."""
    width: float
    """Cores that a build keeps busy."""


@app.function
@functools.cache
def demand() -> Demand:
    """Take a call of a coding agent that has an H100 to itself, and a `build` of the catalog."""
    call = fs.predict("llama_3_1_8b", "h100_sxm", isl=1024, osl=225, concurrency=1)
    build = load_tools().tools["build"]
    mean_s = build.duration.p50 * math.exp(build.duration.sigma**2 / 2)  # of a lognormal
    return Demand(call.latency_s.mean, mean_s, build.work.cores)


@app.function
def rounds_per_s(agents: int, cores: float) -> float:
    """Give rounds a second, exactly, of agents who go to and fro between the GPU and the cores."""
    asked = demand()
    return theory.cyclic_rate(agents, asked.call_s, asked.build_s, cores / asked.width)


@app.function
def busy(agents: int, cores: float) -> tuple[float, float]:
    """Give the share of the time that the GPU, and a core, is busy: U = X D."""
    asked = demand()
    rate = rounds_per_s(agents, cores)
    return rate * asked.call_s, rate * asked.build_s * asked.width / cores


@app.function
def balance() -> float:
    """Cores that a GPU needs: core-seconds over GPU-seconds of a round."""
    asked = demand()
    return asked.build_s * asked.width / asked.call_s


@app.function
@functools.cache
def simulate_cores(cores: int, agents: int, replications: int) -> Point:
    """Simulate the loop `lessons/tools`, long enough for so many rounds."""
    window_s = ROUNDS / rounds_per_s(agents, cores)
    changes = [
        f"topology.racks.box.rack=box_{cores}",
        f"streams.agents.arrivals.concurrency={agents}",
        f"deployments.serve.law.prompt.mean={demand().call_s!r} s",
        f"run.window={window_s!r} s",
        f"run.warmup={0.3 * window_s!r} s",
        f"run.replications={replications}",
        f"run.seed={cores}",
    ]
    run = fs.simulate(fs.load("lessons/tools", changes), workers=1)
    return Point(
        cores,
        tuple(common.of_replications(run, "utilization.gpu")),
        tuple(common.of_replications(run, "utilization.box")),
        tuple(common.of_replications(run, "calls.completed_per_s")),
    )


@app.function
def panels(found: list[Point], agents: int) -> list[common.Panel]:
    """Draw what is busy over the number of cores, and how long a round takes."""
    asked = demand()
    cores = np.geomspace(1.5, 40, 150)
    have = [point.cores for point in found]

    def shares(axes):
        lines = np.array([busy(agents, c) for c in cores]) * 100
        for place, (name, colour, mark) in enumerate(
            (("the GPU", common.GREEN, "o"), ("the cores", common.PURPLE, "s"))
        ):
            axes.plot(cores, lines[:, place], color=colour)
            seen = [
                common.t_interval([100 * one for one in (p.gpu_busy, p.cores_busy)[place]])
                for p in found
            ]
            common.points(axes, have, seen, colour, mark, name)
        axes.axvline(balance(), color=common.GREY, linewidth=1, linestyle=":")
        axes.text(
            balance() * 1.03, 3, f"balance: {balance():.1f} cores", fontsize=9, color=common.GREY
        )
        axes.set(xscale="log", ylim=(0, 118), xlim=(1.5, 40), xticks=have)
        axes.xaxis.minorticks_off()
        common.plain_ticks(axes.xaxis)
        axes.set(xlabel="Cores", ylabel="Busy (% of the time)")

    def rounds(axes):
        axes.plot(
            cores, [agents / rounds_per_s(agents, c) for c in cores], color=common.BLUE,
            label="formula",
        )  # fmt: skip
        tools_s = [agents * asked.build_s * asked.width / c for c in cores]
        gpu_s = agents * asked.call_s
        axes.plot(cores, tools_s, "--", color=common.PURPLE, label="if only cores were short")
        axes.axhline(
            gpu_s, color=common.GREEN, linestyle=":", linewidth=2, label="if only the GPU was"
        )
        seen = [common.t_interval([agents / rate for rate in p.rounds_per_s]) for p in found]
        common.points(axes, have, seen, common.ORANGE, "o", "simulated, 95 %")
        axes.set(xscale="log", yscale="log", xlim=(1.5, 40), xticks=have)
        axes.xaxis.minorticks_off()
        axes.set(ylim=(0.4 * gpu_s, 2.5 * tools_s[0]))
        common.plain_ticks(axes.xaxis)
        common.plain_ticks(axes.yaxis)
        axes.set(xlabel="Cores", ylabel="Time of a round (s)")

    return [
        common.Panel(
            "Who is busy (lines: formula; points: 95 %)",
            "With more cores the GPU gets busy, and the cores idle; they cross at the balance.",
            shares,
        ),
        common.Panel(
            "What an agent feels", "A round is as long as the scarcer of the two allows.", rounds
        ),
    ]


@app.cell(hide_code=True)
def _():
    asked = demand()
    mo.md(f"""
    # Tools and idle silicon

    **Question.** Sixteen coding agents share an H100 and a box of 4 cores. Each asks the LLM,
    builds what it wrote, and asks again. A call keeps the GPU busy for **{asked.call_s:.2f} s**
    (Llama 3.1 8B, 225 tokens out). A build takes **{asked.build_s:.1f} s** on an idle host, on
    {asked.width:g} cores. There are always sixteen agents, so there is always work.

    What share of the time is the GPU busy?
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
    agents_knob = mo.ui.slider(
        steps=[4, 8, 16, 32], value=16, label="Agents at a time", show_value=True
    )
    agents_knob
    return agents_knob, guess


@app.cell(hide_code=True)
def _(agents_knob, guess):
    agents = agents_knob.value
    repeated = common.replications(4)
    with mo.status.spinner(f"Simulating boxes of 2 to 32 cores, {repeated} replications each..."):
        found = [simulate_cores(cores, agents, repeated) for cores in CORES]
    four = found[CORES.index(4)]
    right = busy(agents, 4)[0]
    seen = common.told(common.t_interval([100 * share for share in four.gpu_busy]), "%")
    answer = (
        f"{common.verdict(100 * guess, 100 * right, '%')} With 4 cores the GPU is busy {seen} of "
        f"the time; the formula says {100 * right:.0f} %. It takes {balance():.1f} cores "
        "to balance one GPU."
    )
    mo.md(f"## What happened\n\n{answer}")
    return agents, answer, found


@app.cell(hide_code=True)
def _(agents, found):
    drawings = panels(found, agents)
    common.picture(drawings)
    return (drawings,)


@app.cell(hide_code=True)
def _(found):
    assert found  # shown with the answer, not before it
    need = demand()
    work_s = need.build_s * need.width
    mo.md(rf"""
    ## Why the curve bends

    Every round asks the GPU for $D_g = {need.call_s:.2f}$ s and the cores for
    $D_c = {need.build_s:.1f} \cdot {need.width:g} = {work_s:.1f}$ core-seconds. If $X$ rounds a
    second are done, the **utilization law** says how busy each is:

    $$U_g = X\, D_g \qquad U_c = X\, D_c / c$$

    Neither can exceed 1. So $X$ is at most $1 / D_g$, and at most $c / D_c$, whichever is less:

    $$U_g \le \min\left(1,\ c\,\frac{{D_g}}{{D_c}}\right)$$

    The two bounds meet at the balance, $c^* = D_c / D_g = {balance():.1f}$ cores for a GPU.

    With 4 cores that is {100 * 4 / balance():.0f} %, and no scheduler changes it. Nor does a GPU
    twice as quick: it finishes no more rounds and is busy half as long. Far left the GPU idles,
    far right the cores do; only near $c^*$ both work.

    **Near the balance** both curves stay below their bounds, since agents come in clumps: while
    all sixteen build, the GPU has nothing to do. How far below is the *machine repairman*,
    sixteen agents who go to and fro. With $n$ of them at the cores, builds end at the rate
    $\min(n, c/{need.width:g}) / {need.build_s:.1f}\ \text{{s}}$, and calls end at the rate
    $1/D_g$ unless all are at the cores. The line solves that chain; it holds whatever the law of
    builds, if they share the cores (here it is a lognormal whose slowest 1 % take 13 times the
    median). More agents smooth the clumps.

    **By Little's law** a round takes $N / X$: sixteen agents behind 4 cores need
    {16 / rounds_per_s(16, 4):.0f} s for what takes {need.call_s + need.build_s:.0f} s alone.

    Simplified here: the GPU answers one call at a time, so that the formula is exact. A real one
    batches (lesson 2), which makes $D_g$ *smaller* and $c^*$ *larger*: idle silicon is then the
    likelier. `factorysim compare idle-silicon idle-silicon-cpu-rack` runs 200 agents on eight
    H200 that do batch.

    ## Exercise

    1. Builds get quicker by a cache: 5 s instead of {need.build_s:.1f} s. How many cores balance
       the GPU then?
    2. Set the knob to 4 agents. Why is the GPU never busy all the time, even with 32 cores?
    3. You rent a GPU for 2 USD/h and a core for 0.05 USD/h (say). Which number of cores makes a
       round cheapest?

    /// details | Answers

    1. $5 \cdot {need.width:g} / {need.call_s:.2f} = {5 * need.width / need.call_s:.1f}$ cores.
    2. A round takes at least {need.call_s + need.build_s:.1f} s, and uses the GPU for
       {need.call_s:.2f} s of it. Four agents keep it busy for no more than
       {100 * 4 * need.call_s / (need.call_s + need.build_s):.0f} % of the time.
    3. Divide $2 + 0.05\,c$ by $X(c)$. The least is at
       {min(range(2, 41), key=lambda c: (2 + 0.05 * c) / rounds_per_s(16, c))} cores: more than
    the balance, since cores are the cheaper of the two.

    ///

    ## Sources

    P. J. Denning, J. P. Buzen, "The operational analysis of queueing network models", ACM
    Computing Surveys 10 (1978). W. J. Gordon, G. F. Newell, Operations Research 15 (1967). F.
    Baskett et al., JACM 22 (1975): processor sharing. The tool class `build` is in
    `factorysim/catalog/tools.yaml`: median 6 s, sigma 1.1 (derived from AgentCgroup, arXiv
    2602.09345: P99 80 s), 1.5 cores (assumed: 1 to 2). 225 tokens are the median output of coding
    agents (150 Claude Code sessions, measured). Boxes of 2 to 32 cores are made up
    (`scenarios/catalogs/lesson-boxes.yaml`). The call rests on these facts:

    {
        common.facts_list(
            (
                "accelerators.h100_sxm.memory_bandwidth",
                "llms.llama_3_1_8b.total_params",
                "efficiency.generic.hopper.weight_bandwidth",
            )
        )
    }
    """)
    return


@app.cell(hide_code=True)
def _(agents, answer, drawings, found):
    rows = [
        (
            str(point.cores),
            common.told(common.t_interval([100 * one for one in point.gpu_busy])),
            f"{100 * busy(agents, point.cores)[0]:.1f}",
            common.told(common.t_interval([100 * one for one in point.cores_busy])),
            f"{100 * busy(agents, point.cores)[1]:.1f}",
        )
        for point in found
    ]
    heads = ("cores", "GPU busy (%)", "formula (%)", "cores busy (%)", "formula (%)")
    common.report(answer, heads, rows, drawings)
    return


if __name__ == "__main__":
    app.run()
