"""Lesson 3: the KV wall.

How many conversations does a GPU hold, and what happens after that?

    marimo run analysis/lessons/kv_wall.py
    python analysis/lessons/kv_wall.py [--guess 50] [--picture kv-wall.svg]
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Lesson 3: the KV wall")

with app.setup:
    import functools
    from typing import NamedTuple

    import common
    import marimo as mo
    import numpy as np

    import factorysim as fs
    from factorysim.physics.memory import kv_bytes_per_token, weight_bytes
    from factorysim.spec.kv import KvSpec
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec

    LLM, DEVICE = "llama_3_1_8b", "h100_sxm"
    OUTPUT = 1000
    """Tokens of an answer, on average."""
    SPREAD = 0.2
    """Lengths are drawn from 0.8 to 1.2 of their means."""
    SHARES = (0.3, 0.6, 0.9, 1.25, 1.75)
    """Conversations at a time, over what fits."""
    PROMPTS = ["4000", "8000", "16000"]
    GUESSES = {"10": 10, "50": 50, "200": 200, "1,000": 1000}


@app.class_definition
class Setting(NamedTuple):
    """What the knobs say."""

    prompt: int = 8000
    """Tokens, on average."""
    kv: str = "bf16"
    """Format of the KV cache."""


@app.class_definition
class Point(NamedTuple):
    """What was simulated with so many conversations at a time; a value a replication."""

    asked: int
    running: tuple[float, ...]
    """Mean number in a step of the GPU."""
    first_s: tuple[float, ...]
    """Mean time to the first token."""
    calls_per_s: tuple[float, ...]
    preemptions: tuple[float, ...]
    """Of a call."""


@app.function
def room_tokens(kv: str) -> int:
    """Tokens of KV cache that one GPU has room for beside the weights."""
    catalog = fs.load_catalog()
    llm, rules = catalog.llm(LLM), KvSpec()
    precision = PrecisionSpec(kv=kv)
    free = rules.memory_fraction * catalog.device(DEVICE).capacity_bytes - rules.workspace
    free -= weight_bytes(llm, precision).total
    block = rules.block_tokens * kv_bytes_per_token(llm, precision, ParallelSpec())
    return int(free // block) * rules.block_tokens


@app.function
def fits(setting: Setting) -> float:
    """Conversations that fit: each holds its prompt and, on average, half of its answer."""
    return room_tokens(setting.kv) / (setting.prompt + OUTPUT / 2)


@app.function
def never_full(setting: Setting) -> float:
    """Conversations that fit however long all of them are, so that none is ever preempted."""
    return room_tokens(setting.kv) / ((1 + SPREAD) * (setting.prompt + OUTPUT))


@app.function
@functools.cache
def simulate_point(setting: Setting, asked: int, replications: int) -> Point:
    """Simulate users who come back as soon as they are answered, so many at a time."""
    runs = [
        fs.predict(
            LLM, DEVICE, isl=setting.prompt, osl=OUTPUT, concurrency=asked, spread=SPREAD,
            precision=f"weights=bf16,compute=bf16,kv={setting.kv}", calls=2 * asked,
            overrides=[f"run.seed={100 * asked + replication}"],
        )
        for replication in range(replications)
    ]  # fmt: skip
    return Point(
        asked,
        tuple(run.batch_mean for run in runs),
        tuple(run.ttft_s.mean for run in runs),
        tuple(run.calls_per_s for run in runs),
        tuple(run.preemptions_per_call for run in runs),
    )


@app.function
def asked_of(setting: Setting) -> list[int]:
    """Numbers of conversations to simulate, on both sides of the wall."""
    return [max(1, round(share * fits(setting))) for share in SHARES]


@app.function
def waiting_s(found: list[Point], setting: Setting, asked: float) -> float:
    """Mean wait for a place behind the wall, by Little: those who wait over calls a second."""
    most = max(found, key=lambda point: point.asked)
    return max(0.0, asked - fits(setting)) / float(np.mean(most.calls_per_s))


@app.function
def panels(found: list[Point], setting: Setting) -> list[common.Panel]:
    """Draw how many run, and how long the others wait."""
    asked, wall = [point.asked for point in found], fits(setting)
    line = np.linspace(0, 1.05 * max(asked), 200)

    def mark(axes, top, high):
        axes.axvline(wall, color=common.GREY, linewidth=1, linestyle=":")
        axes.text(
            wall, high * top, f" the wall: {wall:.0f}", fontsize=9, color=common.GREY, va="top"
        )

    def running(axes):
        axes.plot(line, np.minimum(line, wall), color=common.BLUE, label="formula")
        seen = [common.t_interval(point.running) for point in found]
        common.points(axes, asked, seen, common.ORANGE, "o", "simulated, 95 %")
        axes.set(xlim=(0, line[-1]), ylim=(0, 1.3 * wall))
        mark(axes, 1.29 * wall, 1)
        axes.set(xlabel="Conversations at a time", ylabel="Of them, running")

    def first(axes):
        waits = [waiting_s(found, setting, one) for one in line]
        axes.plot(line, waits, color=common.BLUE, label="waiting, by Little's law")
        seen = [common.t_interval(point.first_s) for point in found]
        common.points(axes, asked, seen, common.ORANGE, "o", "simulated, 95 %")
        axes.set(xlim=(0, line[-1]), ylim=(-0.03 * waits[-1], 1.25 * waits[-1]))
        mark(axes, 1.24 * waits[-1], 1)
        axes.set(xlabel="Conversations at a time", ylabel="Time to first token (s)")

    return [
        common.Panel("What runs", "All of them run up to the wall, and no more after it.", running),
        common.Panel("What users feel", "At the wall a time of nothing turns to seconds.", first),
    ]


@app.cell(hide_code=True)
def _():
    catalog = fs.load_catalog()
    mo.md(f"""
    # The KV wall

    **Question.** An H100 has {catalog.device(DEVICE).memory_bytes / 1e9:.0f} GB of memory. The
    weights of Llama 3.1 8B take {weight_bytes(catalog.llm(LLM), PrecisionSpec()).total / 1e9:.0f}
    GB in BF16. The rest holds the *KV cache*: what attention remembers of each token of each
    conversation. Conversations begin with 8,000 tokens, and answers have {OUTPUT:,}.

    How many conversations can run at the same time?
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
    prompt_knob = mo.ui.dropdown(PROMPTS, value="8000", label="Tokens of a prompt")
    kv_knob = mo.ui.dropdown(["bf16", "fp8"], value="bf16", label="Format of the KV cache")
    mo.hstack([prompt_knob, kv_knob], justify="start", wrap=True, gap=2)
    return guess, kv_knob, prompt_knob


@app.cell(hide_code=True)
def _(guess, kv_knob, prompt_knob):
    setting = Setting(int(prompt_knob.value), kv_knob.value)
    repeated = common.replications(3)
    with mo.status.spinner(f"Simulating both sides of the wall, {repeated} replications each..."):
        found = [simulate_point(setting, asked, repeated) for asked in asked_of(setting)]
    before, after = found[-3], found[-1]
    waits = [common.told(common.t_interval(point.first_s), "s") for point in (before, after)]
    again = np.mean(after.preemptions)
    answer = (
        f"{common.verdict(guess, fits(setting), 'conversations')} {fits(setting):.0f} fit. With "
        f"{before.asked} the first token comes after {waits[0]}, with {after.asked} after "
        f"{waits[1]}. Then a call is thrown out half-way, and computed again, {again:.2f} times "
        "on average."
    )
    mo.md(f"## What happened\n\n{answer}")
    return answer, found, setting


@app.cell(hide_code=True)
def _(found, setting):
    drawings = panels(found, setting)
    common.picture(drawings)
    return (drawings,)


@app.cell(hide_code=True)
def _(found):
    assert found  # shown with the answer, not before it
    told = fs.load_catalog()
    token = kv_bytes_per_token(told.llm(LLM), PrecisionSpec(), ParallelSpec())
    mo.md(rf"""
    ## Why the curve bends

    For every token, each of 32 layers keeps a key and a value of 8 heads of 128 numbers. In BF16
    that is $2 \cdot 32 \cdot 8 \cdot 128 \cdot 2 = {token:,.0f}$ bytes **a token**; a
    conversation of 8,500 tokens holds
    {8500 * token / 1e9:.1f} GB. So

    $$N = \frac{{0.9\,M - \text{{weights}} - \text{{workspace}}}}{{k \cdot (p + o/2)}}$$

    run at a time, with $M$ bytes of memory, of which engines take 90 % and 3 GB of that for
    activations, $k$ bytes a token, $p$ tokens of a prompt and $o$ of an answer, half of which is
    there on average. Here that is room for
    {room_tokens("bf16"):,} tokens: **$N = {fits(Setting()):.0f}$**.

    **Up to the wall** a conversation more costs the others a little time. **Behind it** the
    number that runs stays $N$, and so do the calls $X$ that are answered in a second. The others
    wait in line, and Little's law (lesson 1) says for how long: of $C$ conversations $C - N$
    wait, so each waits $(C - N) / X$.

    **Preemption.** An engine lets a call in when its *prompt* fits; nobody knows how long the
    answer will be. Answers then grow by a block of 16 tokens at a time. When no block is free,
    the call that came last loses its cache, waits, and is computed again. Nobody is ever
    preempted if even the longest would all fit: below
    $N_0 = \text{{room}} / (p_{{max}} + o_{{max}}) = {never_full(Setting()):.0f}$ here. Between
    $N_0$ and $N$ it takes bad luck; behind $N$ it is certain.

    The weights do not matter much. What decides is $k$, and it comes from the *shape* of the LLM:
    heads that share keys (GQA: 8 instead of 32) made it four times smaller, and a cache in FP8
    makes it half of that.

    ## Exercise

    1. Set the KV cache to FP8. Does the wall move to twice as many? Does the wait behind it
       shrink as much?
    2. Without GQA, $k$ would be four times as large. How many conversations would fit?
    3. You may set a limit on running conversations (`max_sequences`). Would you choose $N_0$,
       $N$, or more?

    /// details | Answers

    1. The wall moves to twice as many. Calls a second hardly grow, since the same GPU reads as
       many bytes of KV in a step, and computes as many prompts.
    2. {fits(Setting()) / 4:.0f}.
    3. $N_0$ never computes anything twice, $N$ uses the memory best, and more only moves the
       queue.

    ///

    ## Sources

    W. Kwon et al., "Efficient memory management for large language model serving with
    PagedAttention", SOSP 2023, arXiv:2309.06180 (blocks, preemption). J. Ainslie et al., "GQA",
    EMNLP 2023, arXiv:2305.13245. J. D. C. Little, Operations Research 9 (1961). `docs/kv.md` has
    the rules of the cache. Of an "80 GB" H100 programs find 85.5e9 bytes.

    {
        common.facts_list(
            (
                "accelerators.h100_sxm.memory_bytes",
                "accelerators.h100_sxm.usable_memory_bytes",
                "llms.llama_3_1_8b.total_params",
                "llms.llama_3_1_8b.layers",
                "llms.llama_3_1_8b.attention.kv_heads",
                "llms.llama_3_1_8b.attention.head_dim",
                "llms.llama_3_1_8b.attention.kv_bytes_per_token_bf16",
            )
        )
    }
    """)
    return


@app.cell(hide_code=True)
def _(answer, drawings, found, setting):
    rows = [
        (
            str(point.asked),
            common.told(common.t_interval(point.running)),
            f"{min(point.asked, fits(setting)):.1f}",
            common.told(common.t_interval(point.first_s)),
            f"{np.mean(point.preemptions):.2f}",
        )
        for point in found
    ]
    heads = ("at a time", "running", "formula", "first token (s)", "preemptions a call")
    common.report(answer, heads, rows, drawings)
    return


if __name__ == "__main__":
    app.run()
