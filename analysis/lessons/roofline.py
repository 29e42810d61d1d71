"""Lesson 2: the roofline and batching.

Why is a GPU that serves one user nearly idle?

    marimo run analysis/lessons/roofline.py
    python analysis/lessons/roofline.py [--guess 45] [--picture roofline.svg]
"""

import marimo

__generated_with = "0.25.2"
app = marimo.App(width="medium", app_title="Lesson 2: the roofline and batching")

with app.setup:
    import functools
    from typing import NamedTuple

    import common
    import marimo as mo
    import numpy as np

    import factorysim as fs
    from factorysim.catalog.efficiency import efficiency
    from factorysim.physics.collectives import Links
    from factorysim.physics.roofline import RooflineLaw, roofline_law
    from factorysim.spec.layout import ParallelSpec
    from factorysim.spec.llm import PrecisionSpec

    BATCHES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
    OUTPUT = 64
    """Tokens of an answer."""
    LLMS = {
        "Llama 3.1 8B, dense": "llama_3_1_8b",
        "Qwen3 Coder 30B, 3B active": "qwen3_coder_30b_a3b",
    }
    DEVICES = {"H100": "h100_sxm", "H200": "h200_sxm"}
    CONTEXTS = ["64", "512", "2048"]
    GUESSES = {
        "as many as before: they share": 1.0,
        "8 times as many": 8.0,
        "about 45 times as many": 45.0,
        "64 times as many": 64.0,
    }


@app.class_definition
class Setting(NamedTuple):
    """What the knobs say."""

    llm: str = "llama_3_1_8b"
    device: str = "h100_sxm"
    prompt: int = 64
    """Tokens."""


@app.class_definition
class Point(NamedTuple):
    """What was simulated with so many users at a time."""

    batch: int
    token_s: float
    """Seconds between two tokens of a user."""
    tokens_per_s: float
    """Of all users."""
    flop_per_s: float
    bytes_per_s: float


@app.function
@functools.cache
def law_of(setting: Setting) -> RooflineLaw:
    """Give the step law of one device: `docs/physics.md` tells every term."""
    catalog = fs.load_catalog()
    device = catalog.device(setting.device)
    one = Links(1.0, 0.0, 1)  # not looked at by a single device
    return roofline_law(
        catalog.llm(setting.llm), device, PrecisionSpec(), ParallelSpec(), one,
        efficiency(catalog, device, "generic"), "full",
    )  # fmt: skip


@app.function
@functools.cache
def simulate_batch(setting: Setting, batch: int) -> Point | None:
    """Simulate so many users who ask again as soon as they are answered; None: no room.

    All lengths are alike and a step may hold all prompts, so they go through together:
    nothing is drawn.
    """
    catalog = fs.load_catalog()
    device = catalog.device(setting.device)
    try:
        point = fs.predict(
            setting.llm, setting.device, isl=setting.prompt, osl=OUTPUT, concurrency=batch,
            precision="bf16", calls=batch, overrides=["serving.token_budget=10000000"],
        )  # fmt: skip
    except fs.CapacityError:
        return None
    if batch > point.kv.sequences_that_fit:
        return None  # lesson 3
    return Point(
        batch,
        point.tpot_s.mean,
        point.output_tokens_per_s,
        point.mfu * device.flops["bf16"],
        point.mbu * device.memory_bandwidth,
    )


@app.function
def token_s(setting: Setting, batch: int) -> float:
    """Seconds of a step in which each of a batch gets its next token: the formula."""
    law = law_of(setting)
    context = setting.prompt + OUTPUT / 2  # a mean over the answer
    return (law.base(batch, 0, 0, batch) + law.slope_fs * batch * context) / 1e15


@app.function
def reading_s(setting: Setting, batch: float) -> float:
    """Seconds to read, once, all weights that a batch needs."""
    law = law_of(setting)
    dense_s = sum(ridge.read_s for ridge in law.linears) + law.head.read_s
    if law.experts is None:
        return dense_s
    return dense_s + law.experts.touched(batch) * law.experts.read_s


@app.function
def arithmetic_s(setting: Setting, batch: float) -> float:
    """Seconds to multiply a token of each user of a batch with all its weights."""
    law = law_of(setting)
    each_s = sum(ridge.token_s for ridge in law.linears) + law.head.token_s
    if law.experts is None:
        return batch * each_s
    return batch * (each_s + law.experts.active * law.experts.token_s)


@app.function
def knee(setting: Setting) -> float:
    """Find the batch where arithmetic takes as long as reading: B*."""
    low, high = 1.0, 1e6
    for _ in range(100):
        middle = (low * high) ** 0.5
        if arithmetic_s(setting, middle) < reading_s(setting, middle):
            low = middle
        else:
            high = middle
    return low


@app.function
def panels(found: list[Point], setting: Setting) -> list[common.Panel]:
    """Draw the time of a token over the batch, and the roofline."""
    device = fs.load_catalog().device(setting.device)

    def tokens(axes):
        batches = np.unique(np.geomspace(1, 1024, 120).round().astype(int))
        axes.plot(
            batches,
            [1e3 * token_s(setting, int(b)) for b in batches],
            color=common.BLUE,
            label="formula",
        )
        reading = [1e3 * reading_s(setting, b) for b in batches]
        arithmetic = [1e3 * arithmetic_s(setting, b) for b in batches]
        axes.plot(batches, reading, "--", color=common.GREEN, label="read the weights")
        axes.plot(batches, arithmetic, ":", color=common.PURPLE, label="multiply", linewidth=2)
        axes.plot(
            [p.batch for p in found], [1e3 * p.token_s for p in found], "o",
            color=common.ORANGE, markerfacecolor="white", label="simulated", zorder=4,
        )  # fmt: skip
        axes.set(xscale="log", yscale="log", ylim=(1, 150))
        common.plain_ticks(axes.xaxis)
        common.plain_ticks(axes.yaxis)
        axes.set(xlabel="Users at a time (batch)", ylabel="Time of a token (ms)")

    def roofline(axes):
        intensities = np.geomspace(0.5, 3000, 200)
        sheet = np.minimum(intensities * device.memory_bandwidth, device.flops["bf16"])
        axes.plot(intensities, sheet / 1e12, color=common.GREY, label="data sheet")
        rates = efficiency(fs.load_catalog(), device, "generic")
        slope = device.memory_bandwidth * rates.weight_bandwidth
        flat = device.flops["bf16"] * rates.linear_compute["bf16"]
        reached = np.minimum(intensities * slope, flat)
        axes.plot(intensities, reached / 1e12, color=common.BLUE, label="what kernels reach")
        xs = [p.flop_per_s / p.bytes_per_s for p in found]
        ys = [p.flop_per_s / 1e12 for p in found]
        axes.plot(
            xs, ys, "o", color=common.ORANGE, markerfacecolor="white", label="simulated", zorder=4
        )
        for point, x, y in zip(found, xs, ys, strict=True):
            if point.batch in (1, 16, 256):
                axes.annotate(
                    f"{point.batch} user" + "s" * (point.batch > 1), (x, y), (6, -12),
                    textcoords="offset points", fontsize=9, color=common.ORANGE,
                )  # fmt: skip
        axes.set(xscale="log", yscale="log", ylim=(0.8, 2000))
        common.plain_ticks(axes.xaxis)
        common.plain_ticks(axes.yaxis)
        axes.set(xlabel="FLOP for each byte read", ylabel="TFLOP/s")

    return [
        common.Panel(
            "A token's time", "It hardly grows until arithmetic takes over from reading.", tokens
        ),
        common.Panel(
            "The roofline", "Larger batches climb the slope, then meet the flat roof.", roofline
        ),
    ]


@app.cell(hide_code=True)
def _():
    alone = simulate_batch(Setting(), 1)
    mo.md(f"""
    # The roofline and batching

    **Question.** One H100 serves Llama 3.1 8B in BF16 to one user, who gets
    **{alone.tokens_per_s:.0f} tokens/s**. Now 64 users ask at the same time, and each step of the
    GPU makes one token for each of them.

    How many tokens a second does the GPU make now?
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
    llm_knob = mo.ui.dropdown(LLMS, value="Llama 3.1 8B, dense", label="LLM")
    device_knob = mo.ui.dropdown(DEVICES, value="H100", label="GPU")
    prompt_knob = mo.ui.dropdown(CONTEXTS, value="64", label="Tokens of a prompt")
    mo.hstack([llm_knob, device_knob, prompt_knob], justify="start", wrap=True, gap=2)
    return device_knob, guess, llm_knob, prompt_knob


@app.cell(hide_code=True)
def _(device_knob, guess, llm_knob, prompt_knob):
    setting = Setting(llm_knob.value, device_knob.value, int(prompt_knob.value))
    with mo.status.spinner("Simulating batches of 1 to 1,024..."):
        every = [simulate_batch(setting, batch) for batch in BATCHES]
    found = [point for point in every if point is not None]
    by_batch = {point.batch: point for point in found}
    one, many = by_batch[1], by_batch.get(64, found[-1])
    grown = many.tokens_per_s / one.tokens_per_s
    answer = (
        f"{common.verdict(guess, grown, 'times')} One user gets {one.tokens_per_s:.0f} tokens/s, "
        f"{many.batch} get {many.tokens_per_s:,.0f} together: {grown:.0f} times as many. Each of "
        f"them waits {1e3 * many.token_s:.1f} ms for a token instead of {1e3 * one.token_s:.1f}. "
        f"Arithmetic takes as long as reading from {knee(setting):,.0f} users on."
    )
    if len(found) < len(BATCHES):
        answer += f" More than {found[-1].batch} do not fit into memory: lesson 3."
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
    base = Setting()
    mo.md(rf"""
    ## Why the curve bends

    To make one token, a GPU multiplies it with every weight. So it must *read* every weight from
    its memory, 16 GB less one table, and that takes {1e3 * reading_s(base, 1):.1f} ms. To
    *multiply* takes
    {1e6 * arithmetic_s(base, 1):.0f} µs. The GPU waits for its memory 99 % of the time.

    Weights are read once a step, whoever shares it. A second user costs another
    {1e6 * arithmetic_s(base, 1):.0f} µs of arithmetic, which hides behind the reading. That
    goes on until arithmetic takes as long as reading. For weights of $w$ bytes each:

    $$t(B) = \max\Big(\underbrace{{\frac{{2 P B}}{{F e_c}}}}_{{\text{{multiply}}}},\
    \underbrace{{\frac{{w P}}{{M e_m}}}}_{{\text{{read}}}}\Big)
    + \underbrace{{B C \frac{{k}}{{M e_k}}}}_{{\text{{KV}}}} + \dots$$

    $$B^* = \frac{{w}}{{2}} \cdot \frac{{F e_c}}{{M e_m}}$$

    $P$ weights, $F$ FLOP/s and $M$ bytes/s of the data sheet, $e$ the share of them that kernels
    reach; the dots are overheads. **$B^* = {knee(base):.0f}$** here: neither the LLM's size nor
    the GPU's count is in it, only the balance of the chip. Below it another user is nearly free;
    above it users share.

    Nearly: the engine samples a token for each user, {1e6 * law_of(base).engine.sequence_s:.0f}
    µs each (an assumption of the catalog, 2 to 60 µs by engine). That is as much as the
    arithmetic, and nothing hides it. So the line begins to rise before $B^*$, and 64 users get
    {simulate_batch(base, 64).tokens_per_s / simulate_batch(base, 1).tokens_per_s:.0f} times as
    many tokens, not 64 times.

    The term with $C$, the tokens of a user's context, is different. Everybody's KV cache ($k$
    bytes a token) is read for that user alone, so **batching does not make it cheaper**. Set the
    prompt to 2,048 tokens: the line bends long before $B^*$.

    The right picture is the same story as Williams, Waterman and Patterson drew it: a step that
    does little with each byte is on the slope (memory), one that does much is under the flat roof
    (arithmetic). Points lie below the blue line because a step also launches kernels and samples
    tokens.

    Points are on the line of the left picture to the last digit: with lengths all alike nothing
    is drawn. They check the clock, which walks {OUTPUT} steps with arrivals, prompts and a
    scheduler; the formula is the law that it walks by.

    ## Exercise

    1. The H200 has the H100's arithmetic and 1.43 times its bandwidth. What is its $B^*$? Check
       with the knob.
    2. Weights of one byte (FP8), arithmetic still in BF16: what is $B^*$ then?
    3. Choose the MoE. It reads few experts for one user, and nearly all of them for 64. Why does
       it need so many more users to get under the flat roof?

    /// details | Answers

    1. 277 / 1.43 = 193 users.
    2. About half, 138.
    3. All of its 128 experts are read, but each token is multiplied with 8 of them: 16 times as
       many bytes for a FLOP.

    ///

    ## Sources

    S. Williams, A. Waterman, D. Patterson, "Roofline: an insightful visual performance model for
    multicore architectures", CACM 52(4), 2009. R. Pope et al., "Efficiently scaling transformer
    inference", arXiv:2211.05102. `docs/physics.md` has every term of the law and its measured
    error.

    {
        common.facts_list(
            (
                "accelerators.h100_sxm.flops.bf16",
                "accelerators.h100_sxm.memory_bandwidth",
                "accelerators.h200_sxm.memory_bandwidth",
                "llms.llama_3_1_8b.total_params",
                "llms.llama_3_1_8b.attention.kv_bytes_per_token_bf16",
                "efficiency.generic.hopper.linear_compute_bf16",
                "efficiency.generic.hopper.weight_bandwidth",
            )
        )
    }
    """)
    return


@app.cell(hide_code=True)
def _(answer, drawings, found, setting):
    rows = [
        (
            f"{point.batch:,}",
            f"{1e3 * point.token_s:.3f}",
            f"{1e3 * token_s(setting, point.batch):.3f}",
            f"{point.tokens_per_s:,.0f}",
        )
        for point in found
    ]
    heads = ("users", "time of a token (ms)", "formula (ms)", "tokens/s")
    common.report(answer, heads, rows, drawings)
    return


if __name__ == "__main__":
    app.run()
