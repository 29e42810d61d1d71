"""One operating point in the terminal, eighty columns wide."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.catalog.residuals import ALL
from factorysim.marked import printable
from factorysim.report.numbers import amount, digits, of_unit, percent, seconds
from factorysim.report.point_pools import BOUNDS, bound_by, of_memory, pools_report, pools_title
from factorysim.report.terminal import BAR, mark, titled_table

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from factorysim.catalog import Fact
    from factorysim.study.predict import ModelError, Point, Spread
    from factorysim.study.usage import Bound

LATENCIES = {
    "ttft_s": "first token (TTFT)",
    "tpot_s": "per token (TPOT)",
    "itl_s": "token gap (ITL)",
    "latency_s": "whole call",
}
MODEL_ERROR = {
    "ttft_s": ("TTFT, mean", "s"),
    "tpot_s": ("TPOT, mean", "s"),
    "output_tokens_per_s": ("output tokens/s", "1"),
    "watts_per_device": ("W per device", "W"),
    "j_per_output_token": ("J per output token", "J"),
}
"""Fields of a point that residuals bound, with their units."""
NONE = "-"


def point_report(point: Point) -> list[RenderableType]:
    """Everything that a point says, as parts to print one after the other."""
    return [
        *_head(point),
        "",
        _latency(point),
        *_withheld(point),
        "",
        _throughput(point),
        "",
        *(_replica_and_bound(point) if len(point.pools) == 1 else pools_report(point)),
        "",
        *_model_error(point.model_error),
        "",
        *_assumed(point),
        *_footer(point),
    ]


def _replica_and_bound(point: Point) -> list[RenderableType]:
    return [_replica(point), "", *_bound(point.bound, point.memory)]


def _title(point: Point) -> str:
    if len(point.pools) > 1:
        return f"{point.llm} on {pools_title(point)}"
    racks = "" if point.rack == point.device else f", {_racks(point)}"
    widths = {"PP": point.pp, "DP": point.dp, "EP": point.ep}
    layout = f"TP {point.tp}" + "".join(f", {k} {n}" for k, n in widths.items() if n > 1)
    return f"{point.llm} on {point.devices} x {point.device} ({layout}{racks})"


def _head(point: Point) -> list[Text]:
    from rich.text import Text

    precision = point.precision
    words = (precision.weights, precision.compute, precision.kv)
    formats = "{} weights, {} arithmetic, {} KV cache".format(*words)
    if len(set(words)) == 1:
        formats = f"{precision.weights} throughout"
    return [
        Text(printable(_title(point)), style="bold"),
        Text(
            f"{point.concurrency:,} calls at any time, {point.isl:,.0f} prompt and "
            f"{point.osl:,.0f} output tokens each"
            + (f", ±{percent(point.spread)}" if point.spread else "")
        ),
        Text(printable(f"{formats} ({point.precision_from})")),
        *_speculation(point),
    ]


def _speculation(point: Point) -> list[Text]:
    """Say who drafts, and what a verify makes of it."""
    from rich.text import Text

    deployments = point.scenario.deployments.values()
    asked = next((one.speculation for one in deployments if one.speculation is not None), None)
    if asked is None or not asked.draft_tokens:
        return []
    from factorysim.physics.speculation import pace

    made = pace(asked.draft_tokens, asked.acceptance)
    who = asked.method if asked.draft is None else asked.draft.llm
    drafts = f"{asked.draft_tokens} draft{'s' * (asked.draft_tokens != 1)} a step by {who}"
    mean = f"{made.tokens / made.verifies:.3g} tokens a step"
    words = f"{drafts}, each accepted with {asked.acceptance:g}: {mean}"
    return [Text(printable(words))]


def _racks(point: Point) -> str:
    return f"in {point.rack}" if point.racks == 1 else f"in {point.racks} x {point.rack}"


def _latency(point: Point) -> Table:
    table = titled_table("Latency", ("", "mean", "p50", "p95", "p99"))
    for key, text in LATENCIES.items():
        table.add_row(text, *_times(getattr(point, key)))
    if point.handoff is not None:
        table.add_row("hand-off to decode", *_times(point.handoff.time_s))
    return table


def _times(spread: Spread) -> list[str]:
    return [NONE if value is None else seconds(value) for value in spread]


def _withheld(point: Point) -> list[Text]:
    """Say once each why values are missing."""
    from rich.text import Text

    reasons = dict.fromkeys(point.reasons.values())
    return [Text(f"{NONE} {printable(reason)}", style="dim") for reason in reasons]


def _throughput(point: Point) -> Table:
    table = titled_table("Throughput", ("", "in all", "per device", "per user"))
    devices, user = point.devices, point.tokens_per_s_per_user
    table.add_row(
        "output tokens/s",
        amount(point.output_tokens_per_s),
        amount(point.output_tokens_per_s_per_device),
        NONE if user is None else amount(user),
    )
    table.add_row(
        "prompt and output tokens/s",
        amount(point.tokens_per_s),
        amount(point.tokens_per_s / devices),
        "",
    )
    table.add_row("calls/s", amount(point.calls_per_s), amount(point.calls_per_s / devices), "")
    return table


def _replica(point: Point) -> Table:
    kv = point.kv
    table = titled_table("Replica", ("", ""))
    table.show_header = False
    table.columns[1].justify = "left"
    batch = f"{digits(point.batch_mean)} sequences in a step, at most {point.batch_max:,}"
    table.add_row("batch", batch)
    wait = f"{digits(point.queue_mean)} calls, at most {point.queue_max:,.0f}"
    waits = f"{wait}; {seconds(point.queue_s)} to the first step" if point.queue_max else "none"
    table.add_row("queue", waits)
    if point.preemptions_per_call:
        table.add_row("preempted", f"{digits(point.preemptions_per_call)} times a call")
    table.add_row("KV cache", f"{kv.blocks:,} blocks of {kv.block_tokens} tokens a replica")
    used = f"{percent(kv.share_mean)} of it held, at most {percent(kv.share_max)}"
    table.add_row("", f"{used}; {kv.sequences_that_fit:,} whole calls fit")
    shares = [
        f"{name} {percent(value)}{of_memory(memory)}"
        for name, value, memory in (("MFU", point.mfu, None), ("MBU", point.mbu, point.memory))
        if value is not None
    ]
    if shares:
        table.add_row("of the data sheet", ", ".join(shares))
    watts = f"{amount(point.watts_per_device, 'W')} a device of {amount(point.tdp_w, 'W')} TDP"
    joules = amount(point.j_per_output_token, "J")
    table.add_row("power", f"{watts}, {joules} per output token")
    table.add_row("", "devices alone: no hosts, switches or cooling")
    return table


def _bound(bound: Bound | None, memory: str | None) -> list[RenderableType]:
    if bound is None:
        return [mark("Bound by ", "nothing: no step was made", "")]
    shares, word = bound._asdict(), bound.word
    head = mark(
        f"Bound by {bound_by(bound, memory)}: ", f"{percent(shares[word])} of the time in steps", ""
    )
    table = titled_table("", ("", "", ""))
    table.title = None
    table.show_header = False
    table.columns[2].justify = "left"
    for key, share in shares.items():
        table.add_row(BOUNDS[key], percent(share), "█" * round(share * BAR))
    return [head, table]


def _model_error(error: ModelError) -> list[RenderableType]:
    """Bounds by the model's own error, and from how many rows; or why there are none."""
    if error.reason is not None:
        return [mark("Model error: ", printable(f"withheld: {error.reason}"), "yellow")]
    title = printable(f"Model error: 80 % of what would be measured ({error.title})")
    table = titled_table(title, ("", "10..90 %", "from"))
    for name, (low, high, rows, sources, load) in error.bands.items():
        text, unit = MODEL_ERROR[name]
        loads = "of all loads" if load == ALL else "of this load" if load == "closed" else load
        table.add_row(
            text,
            f"{of_unit(low, unit)} .. {of_unit(high, unit)}",
            f"{rows} rows of {sources} source{'s' * (sources != 1)}, {loads}",
        )
    table.columns[2].justify = "left"
    missing = [text for name, (text, _) in MODEL_ERROR.items() if name not in error.bands]
    parts: list[RenderableType] = [table] if error.bands else []
    if missing:
        words = f"no band of {', '.join(missing)}: too few rows were compared"
        parts.append(mark("Model error: ", words, "yellow"))
    parts += [
        mark("Never compared: ", f"no row of measurements had {one}", "yellow")
        for one in error.never_compared
    ]
    return parts


def _assumed(point: Point) -> list[RenderableType]:
    """List the facts that nobody has published, with their bands."""
    if not point.assumed:
        return [mark("Assumed: ", "nothing; every fact that counts is published", "green")]
    number = len(point.assumed)
    title = f"Assumed: {number} fact{'s' * (number > 1)} that nobody has published"
    table = titled_table(title, ("", "value", "10..90 %"))
    for fact in point.assumed:
        table.add_row(printable(fact.id), _shown(fact, fact.value), _band(fact))
    return [table]


def _shown(fact: Fact, value: object) -> str:
    if not isinstance(value, int | float):
        return "?" if value is None else printable(str(value))
    return of_unit(float(value), "1" if fact.unit == "count" else fact.unit)


def _band(fact: Fact) -> str:
    if fact.low is None or fact.high is None or fact.low == fact.high:
        return ""
    return f"{_shown(fact, fact.low)} .. {_shown(fact, fact.high)}"


def _footer(point: Point) -> list[RenderableType]:
    measured = (
        f"{point.calls:,} calls in {seconds(point.window_s)}, after the first "
        f"{point.calls_left_out:,} (MSER-5 on TTFT, two waves at least); the run-down is left out. "
        "All start at once."
    )
    if point.concurrency > 1 and point.spread == 0:
        measured += (
            " Calls of one length keep together: prompts that meet once meet always, and TTFT is "
            "that of a burst. --spread 0.1 mixes them."
        )
    parts: list[RenderableType] = ["", mark("Measured: ", measured, "")]
    return parts + [mark("Note: ", printable(note), "yellow") for note in point.notes]
