"""A run in the terminal: the verdict first, then what it rests on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from factorysim.marked import printable
from factorysim.metrics.names import metric
from factorysim.metrics.recovery import NO_SPIKES
from factorysim.report.broken_down import broken_down, mean
from factorysim.report.numbers import of_unit, percent, seconds
from factorysim.report.page import QUESTION, cut
from factorysim.report.slo import Said, slo_lines

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType
    from rich.table import Table
    from rich.text import Text

    from factorysim.metrics.summary import Line, Summary
    from factorysim.run import Run

STATS = ("mean", "p50", "p95", "p99")
LATENCIES = {
    "ttft_s": "TTFT",
    "tpot_s": "TPOT",
    "itl_s": "ITL",
    "turn_s": "longest turn",
    "session_s": "session",
}
RATES = {
    "goodput.sessions_per_s": "arrivals that met SLO",
    "sessions.completed_per_s": "sessions ended",
    "goodput.calls_per_s": "calls that met SLO",
    "calls.completed_per_s": "calls ended",
    "goodput.output_tokens_per_s": "output tokens that met SLO",
    "tokens.output_per_s": "output tokens made",
}
COUNTS = {
    "sessions.arrived": "sessions arrived",
    "sessions.completed": "completed",
    "sessions.failed": "failed",
    "sessions.censored": "still in flight",
    "calls.arrived": "calls sent",
    "calls.rejected": "rejected",
    "tokens.prompt": "prompt tokens",
    "kv.hit_rate": "found in the KV cache",
    "tokens.recomputed": "recomputed tokens",
    "tokens.output": "output tokens",
}
POWER = {
    "power.it_w.mean": "IT power, mean",
    "power.it_w.p99": "IT power, p99 over time",
    "power.it_w.max": "IT power, highest",
    "power.facility_w.mean": "facility power, mean",
    "energy.it_j": "IT energy in the window",
    "energy.j_per_session": "facility energy per session",
    "carbon.g_per_session": "carbon per session",
    "cost.energy_usd_per_mtok_output": "electricity per output",
}
IO_WORK = {
    "io_work.host_cores": "host cores",
    "io_work.dpu_cores": "DPU cores",
    "io_work.dpu_utilization": "of the DPUs that work",
}
FAILURES = {
    "tools.called": "tools called",
    "tools.failed": "failed to the end",
    "tools.retries": "attempts after the first",
}
SANDBOXES = {
    "sandboxes.asked": "sandboxes asked for",
    "sandboxes.cold_starts": "started then",
    "sandboxes.warm_hits": "stood ready",
    "sandbox_wait_s.mean": "time to have one, mean",
    "sandbox_wait_s.p95": "p95",
    "sandboxes.held.mean": "held at once, mean",
}
RECOVERY = {
    "recovery_s.waiting": "wait for a first token",
    "recovery_s.calls": "calls are in flight",
    "recovery_s.sessions": "sessions are there",
}
LADDER = {
    "accelerator": "accelerators in steps",
    "host": "+ busy hosts, rest of racks",
    "idle": "+ waiting for work: all racks",
    "facility": "x PUE: facility",
}
SHARES = {
    "queue": "waiting for a replica",
    "prefill": "prefill",
    "decode": "decode",
    "stall": "preempted",
    "kv": "fetching KV",
    "network": "network",
    "tool_queue": "waiting for a tool host",
    "tool": "tools",
    "gap": "user's gaps",
}
COLUMNS = {
    "queue": "queue",
    "prefill": "prefill",
    "decode": "decode",
    "stall": "stall",
    "kv": "KV",
    "network": "net",
    "tool_queue": "wait",
    "tool": "tools",
}
"""The same in the few letters that columns have; `wait` is for a tool host."""
BAR = 24
"""Cells of a bar for the whole."""


def run_report(run: Run) -> list[RenderableType]:
    """Everything that a run says, as parts to print one after the other."""
    notes: dict[str, int] = {}
    summary = run.summary
    parts: list[RenderableType] = [*verdict(run), "", _latency(summary, notes), ""]
    parts += [
        listing("Rates", RATES, summary, notes),
        "",
        listing("Counts, per replication", COUNTS, summary, notes),
        "",
        _pools(summary, notes),
        "",
        *_tools(summary, notes),
        *_io_work(summary, notes),
        *_recovery(summary, notes),
        listing("Power and energy", POWER, summary, notes),
        "",
        listing(
            "Energy per output token, each line with the one above",
            {f"energy.j_per_output_token.{key}": text for key, text in LADDER.items()},
            summary,
            notes,
        ),
    ]
    shares = _shares(summary)
    if shares is not None:
        parts += ["", shares]
        by_stream = _shares_by_stream(run)
        if by_stream is not None:
            parts += ["", by_stream]
    return [*parts, "", *footnotes(notes), *rests_on(run)]


FULL = 0.995
"""From here on a pool has no room that anybody could speak of."""
STYLES = {"good": "green", "bad": "red", "unknown": "yellow", "plain": ""}


def verdict(run: Run) -> list[Text]:
    """SLO, load and bottleneck in a few lines."""
    from rich.text import Text

    scenario = run.manifest["scenario"]
    return [
        Text(scenario["name"], style="bold"),
        Text(printable(cut(scenario["question"], QUESTION)), style="italic"),
        Text(),
        *(mark(f"{one.head}: ", one.text, STYLES[one.state]) for one in said(run)),
    ]


def said(run: Run) -> list[Said]:
    """Say who met their SLO, who was turned away, whether the load is sustained, what is full."""
    manifest, summary = run.manifest, run.summary
    lines = slo_lines(manifest["slo"]) + _turned_away(summary)
    overload = manifest["overload"]
    saturation, bottleneck = summary.get("saturation"), summary.get("bottleneck")
    if overload is not None and overload["state"] != "steady":
        lines.append(Said(overload["state"].capitalize(), overload["text"], "bad"))
    elif saturation is not None and isinstance(saturation.value, float):
        lines.append(_load(saturation.value, steady=overload is not None))
    if bottleneck is not None and isinstance(bottleneck.value, str):
        lines.append(Said("Bottleneck", bottleneck.value, "plain"))
    return lines


def _load(full: float, *, steady: bool) -> Said:
    """Say how full the fullest pool is: neither good nor bad of a load that comes and goes."""
    told = f"the fullest pool is {percent(full)} full on average"
    if full >= FULL:
        return Said("Full", f"{told}: that no backlog grew says little", "unknown")
    return Said("Sustained", told, "good") if steady else Said("Load", told, "plain")


def _turned_away(summary: Summary) -> list[Said]:
    """Say which calls were not served, and why; and how many only came in late."""
    calls = _value(summary, "calls.arrived")
    gone = _value(summary, "calls.turned_away")
    too_long = _value(summary, "calls.rejected") - gone
    retried = _value(summary, "calls.retried")
    lines: list[Said] = []
    if too_long:
        share = percent(too_long / calls)
        why = "longer than the KV cache, or than the context of their LLM"
        lines.append(Said("Rejected", f"{share} of calls: {why}", "bad"))
    if gone:
        told = f"{percent(gone / calls)} of calls: by admission, to the last attempt"
        lines.append(Said("Turned away", told, "bad"))
    if retried:
        told = f"{percent(retried / calls)} of calls were sent more than once"
        lines.append(Said("Came again", told, "plain"))
    return lines


def _value(summary: Summary, name: str) -> float:
    """Give a number of a summary; 0 where there is none."""
    line = summary.get(name)
    return line.value if line is not None and isinstance(line.value, float) else 0.0


def mark(head: str, text: str, style: str) -> Text:
    """Give a line with a bold, coloured head."""
    from rich.text import Text

    return Text.assemble((head, f"bold {style}".strip()), text)


def titled_table(title: str, headers: Sequence[str]) -> Table:
    """Give an empty table: the first column for words, the others for numbers."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(title, style="bold") if title else None,
        title_justify="left",
        pad_edge=False,
        show_edge=False,
    )
    for number, header in enumerate(headers):
        side: Literal["left", "right"] = "left" if number == 0 else "right"
        table.add_column(Text(header), justify=side, overflow="fold")
    return table


def cell(name: str, line: Line | None, notes: dict[str, int]) -> str:
    """One value with its half width, or the number of the note that says why not."""
    if line is None:
        return ""
    if line.value is None:
        return f"({notes.setdefault(line.reason or 'no reason given', len(notes) + 1)})"
    if isinstance(line.value, str):
        return line.value
    text = of_unit(line.value, metric(name).unit)
    if line.ci_low is None or line.ci_high is None or line.ci_high == line.ci_low:
        return text
    if text[0] in "<>":  # too small to write, and so is its interval
        return text
    number, _, unit = text.partition(" ")
    scale = float(number) / line.value if line.value else 0.0
    half = (line.ci_high - line.ci_low) / 2 * scale
    places = len(number.partition(".")[2])
    return f"{number} ±{half:.{places}f} {unit}".strip() if scale else text


def _latency(summary: Summary, notes: dict[str, int]) -> Table:
    table = titled_table(
        "Latency: to the first token (TTFT), per token (TPOT), gap (ITL)", ("", *STATS)
    )
    for base, text in LATENCIES.items():
        names = [f"{base}.{stat}" for stat in STATS]
        table.add_row(text, *(cell(n, summary.get(n), notes) for n in names))
    return table


def listing(title: str, rows: dict[str, str], summary: Summary, notes: dict[str, int]) -> Table:
    """Metrics one below the other, each with its interval; names of none are left out."""
    table = titled_table(title, ("", "mean", "95 % interval"))
    for name, text in rows.items():
        line = summary.get(name)
        if line is None:
            continue
        unit = metric(name).unit
        interval = ""
        if line.ci_low is not None and line.ci_high is not None and line.ci_low < line.ci_high:
            interval = f"{of_unit(line.ci_low, unit)} .. {of_unit(line.ci_high, unit)}"
        plain = line._replace(ci_low=None, ci_high=None)
        table.add_row(text, cell(name, plain, notes), interval)
    return table


def _pools(summary: Summary, notes: dict[str, int]) -> Table:
    table = titled_table("Pools", ("", "in a step", "MFU", "MBU", "full", "queue", "longest"))
    pools = [n.partition(".")[2] for n in summary if n.startswith("utilization.")]
    for pool in sorted(pools):
        base = pool.removesuffix(".tools")
        names = [f"{kind}.{pool}" for kind in ("utilization", "mfu", "mbu", "saturation")]
        names += [f"queue.{base}.{stat}" for stat in ("mean", "max")]
        cells = [_plain(n, summary.get(n), notes) for n in names]
        table.add_row(pool, *cells)
    return table


def _tools(summary: Summary, notes: dict[str, int]) -> list[RenderableType]:
    """Tell what failed, and what became of sandboxes, where there are such."""
    rows: dict[str, str] = {}
    for asked, names in (("tools.failed", FAILURES), ("sandboxes.asked", SANDBOXES)):
        line = summary.get(asked)
        if line is not None and line.value is not None:
            rows |= names
    return [listing("Tools, per replication", rows, summary, notes), ""] if rows else []


def _io_work(summary: Summary, notes: dict[str, int]) -> list[RenderableType]:
    """Cores behind bytes, where they cost some."""
    lines = [summary.get(name) for name in IO_WORK]
    if all(line is None or line.value is None for line in lines):
        return []
    title = "Cores that TLS, packets and storage take"
    return [listing(title, IO_WORK, summary, notes), ""]


def _recovery(summary: Summary, notes: dict[str, int]) -> list[RenderableType]:
    """How long a spike is felt, where there is one."""
    if not has_spikes(summary):
        return []
    title = "Time after a spike until no more than before"
    return [listing(title, RECOVERY, summary, notes), ""]


def has_spikes(summary: Summary) -> bool:
    """Whether a run had spikes of arrivals to recover from."""
    lines = [summary.get(name) for name in RECOVERY]
    return any(line is not None and line.reason != NO_SPIKES for line in lines)


def _plain(name: str, line: Line | None, notes: dict[str, int]) -> str:
    return cell(name, line and line._replace(ci_low=None, ci_high=None), notes)


def _shares(summary: Summary) -> Table | None:
    """Where a session's time goes; as bars, what is left without its user's gaps."""
    table = titled_table("Where a session's time goes", ("", "in all", "without gaps", ""))
    lines = {key: summary.get(f"time_share.{key}") for key in SHARES}
    shares = {
        key: line.value
        for key, line in lines.items()
        if line is not None and isinstance(line.value, float) and line.value >= 5e-4
    }
    active = sum(share for key, share in shares.items() if key != "gap")
    for key, share in shares.items():
        own = "" if key == "gap" else percent(share / active)
        cells = 0 if key == "gap" else max(1, round(share / active * BAR))
        table.add_row(SHARES[key], percent(share), own, "█" * cells)
    table.columns[3].justify = "left"
    return table if shares else None


def _shares_by_stream(run: Run) -> Table | None:
    """Where the time of each stream's sessions goes, gaps left out; None for a single stream."""
    found = broken_down(run, "stream")
    if len(found) < 2:
        return None
    active = {stream: _active(found.get(stream, {})) for stream in run.manifest["slo"]}
    seen = [
        key for key in COLUMNS if any(shares.get(key, 0.0) >= 5e-4 for shares in active.values())
    ]
    parts = titled_table("By stream, without gaps", ("", *(COLUMNS[key] for key in seen)))
    for stream, shares in active.items():
        cells = [f"{shares.get(key, 0.0):.1%}" for key in seen] if shares else ["none ended"]
        parts.add_row(printable(stream), *cells)
    return parts


def _active(found: Mapping[str, list[float]]) -> dict[str, float]:
    """Give shares of a session's time without gaps; empty: no session has ended."""
    means = {key: mean(values) for key in COLUMNS if (values := found.get(f"time_share.{key}"))}
    whole = sum(means.values())
    return {key: share / whole for key, share in means.items()} if whole > 0 else {}


def footnotes(notes: dict[str, int]) -> Iterable[Text]:
    """Say why values are missing."""
    from rich.text import Text

    return (Text(f"({number}) {reason}", style="dim") for reason, number in notes.items())


def rests_on(run: Run) -> Iterable[Text]:
    """Tell what a run rests on, and whether its books balance."""
    from rich.text import Text

    manifest = run.manifest
    replications = len(manifest["replications"])
    window = manifest["window"]
    yield Text(
        f"{replications} replication{'s' * (replications != 1)}, seed {manifest['seed']}, "
        f"{seconds(window['end_s'] - window['start_s'])} measured after "
        f"{seconds(window['start_s'])} of warm-up ({manifest['warmup']['note']})"
    )
    if manifest["conditional"]:
        yield Text(manifest["conditional"])
    yield mark("Model error: ", printable(_model_error(run)), "yellow")
    laws = run.audit
    kept = sum(laws.values())
    yield mark(
        "Audit: ",
        f"{kept} of {len(laws)} laws of conservation hold in every replication",
        "green" if kept == len(laws) else "red",
    )
    for warning in link_warnings(manifest):
        yield mark("Warning: ", warning, "yellow")
    assumed = len(manifest["assumed_facts"])
    if assumed:
        yield mark(
            "Assumed: ",
            f"the result rests on {assumed} facts that nobody has published"
            " (manifest.json lists them)",
            "yellow",
        )
    for note in manifest["notes"]:
        yield mark("Note: ", note, "yellow")
    yield mark("Wall time: ", seconds(manifest["wall_s"]), "")


MODEL_ERROR = {
    "ttft_s.mean": "TTFT",
    "tpot_s.mean": "TPOT",
    "tokens.output_per_s": "output tokens",
    "energy.j_per_output_token.accelerator": "J/token",
}


def _model_error(run: Run) -> str:
    """Give the bounds of the model's own error in one line, or why there are none."""
    told = run.manifest["model_error"]
    if told["reason"] is not None:
        return str(told["text"])
    bands: list[str] = []
    for name, text in MODEL_ERROR.items():
        line = run.summary.get(name)
        if line is not None and line.model_low is not None and line.model_high is not None:
            unit = metric(name).unit
            low, high = of_unit(line.model_low, unit), of_unit(line.model_high, unit)
            bands.append(f"{text} {low} .. {high}")
    shown = f" (80 %): {', '.join(bands)}" if bands else ": no band of its metrics"
    return f"{told['class']}{shown}"


def link_warnings(manifest: dict[str, Any]) -> list[str]:
    """Tell of links that slowed their flows, of the replication in which they did so for longest.

    No law is broken, but a planner should know.
    """
    replications = manifest["replications"]
    warned = [
        line
        for one in replications
        for line in one["audit"]
        if line["detail"].startswith("warning: ")
    ]
    if not warned:
        return []
    worst = max(warned, key=lambda line: line["got"])
    where = f", most in one of {len(replications)} replications" if len(replications) > 1 else ""
    told = f"{worst['name']}: {worst['got']:.3g} s{where}"
    return [f"{told} ({worst['detail'].removeprefix('warning: ')})"]
