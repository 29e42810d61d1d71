"""Records of `fstrace/1`: which fields each kind has, and how they are checked."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from factorysim.marked import shown
from factorysim.workload.rows import MAX_NS, MAX_TOKENS, Row, as_list, as_map

if TYPE_CHECKING:
    from factorysim.workload.rows import Json

SCHEMA = "fstrace/1"

Kind = Literal["meta", "session", "llm", "tool", "gap"]

SIMULATED: dict[str, tuple[str, ...]] = {
    "session": ("k", "sid", "t", "agent", "client", "priority", "src"),
    "llm": (
        *("k", "sid", "id", "t", "after", "delay", "initiator", "in", "out", "cached"),
        *("hashes", "bs", "shared", "context", "step", "role"),
    ),
    "tool": (
        *("k", "sid", "id", "t", "after", "delay", "cls", "dur", "cpu_s", "cores"),
        *("mem", "in_bytes", "out_bytes", "out_tokens", "context", "failed"),
    ),
    "gap": ("k", "sid", "id", "after", "delay", "cls"),
}
"""Fields that the session types hold; the file's other fields travel in `src`."""

CARRIED: dict[str, tuple[str, ...]] = {
    "session": ("parent", "slo"),
    "llm": (
        *("n", "reason", "model", "effort", "mm", "finish", "obs", "src"),
        *("retain_out", "reset"),
    ),
    "tool": (
        *("call", "name", "io_r", "io_w", "net", "status", "blocking", "sandbox"),
        *("spawns", "obs", "src"),
    ),
    "gap": ("src",),
}
"""Fields that are kept and written back as they are."""

MAX_CONTEXTS = 1_000_000
"""Of one session: its own and its sub-agents'."""
STATUSES: tuple[Literal["failed"], Literal["timeout"]] = ("failed", "timeout")
"""Words of a tool's `status` that a simulation counts; others are kept as they are."""
ATTEMPTS_MOST = 100
"""Failed attempts of one tool."""
MAX_ROLES = 511
"""The highest number of a role of sub-agents."""

META = (
    *("k", "schema", "name", "source", "origin_format", "epoch", "block_size"),
    *("hash_scope", "prompt_mode", "tokenizer", "vocab"),
)


@dataclass(slots=True)
class Meta:
    """What the first line says of the whole file."""

    name: str = ""
    origin_format: str = "fstrace"
    epoch: str | None = None
    block_size: int | None = None
    hash_scope: Literal["global", "session"] = "global"
    prompt_mode: Literal["full", "delta"] = "full"
    source: dict[str, Json] = field(default_factory=dict[str, "Json"])
    tokenizer: str | None = None
    vocab: dict[str, Json] = field(default_factory=dict[str, "Json"])


@dataclass(slots=True)
class Record:
    """One line of a session, checked as far as it can be alone."""

    line: int
    kind: Kind
    row: Row
    id: str = ""
    after: list[str] | None = None
    """None: not said."""


def read_meta(row: Row) -> Meta:
    """Check the first line.

    Raises
    ------
    BadRow
        If it is no `meta` record of this schema.
    """
    if row.data.get("k") != "meta" or row.data.get("schema") != SCHEMA:
        expected = f'{{"k": "meta", "schema": "{SCHEMA}", ..}}'
        row.bad("", "another record", expected, "the first line says what the file is")
        row.close()
    _unknown_keys(row, META)
    scope = _choice(row, "hash_scope", ("global", "session"), "global")
    mode = _choice(row, "prompt_mode", ("full", "delta"), "full")
    size = None if row.data.get("block_size") is None else row.whole("block_size", 1, 1_000_000)
    source, vocab = _object(row, "source"), _object(row, "vocab")
    meta = Meta(
        name=row.text("name", ""),
        origin_format=row.text("origin_format", "fstrace"),
        epoch=None if row.data.get("epoch") is None else row.text("epoch"),
        block_size=size,
        hash_scope="session" if scope == "session" else "global",
        prompt_mode="delta" if mode == "delta" else "full",
        source=source,
        tokenizer=None if row.data.get("tokenizer") is None else row.text("tokenizer"),
        vocab=vocab,
    )
    row.close()
    return meta


def read_record(line: int, row: Row) -> Record:
    """Check the fields of a session, llm, tool or gap record.

    Raises
    ------
    BadRow
        With every problem that the record has by itself.
    """
    kind = _choice(row, "k", tuple(SIMULATED), "gap")
    row.close()
    _unknown_keys(row, SIMULATED[kind] + CARRIED[kind])
    record = Record(line, kind, row)  # type: ignore[arg-type]  # one of SIMULATED's keys
    if "sid" in row.data or kind == "session":
        row.text("sid")
    if kind != "session":
        record.id = row.text("id", "") if "id" in row.data else ""
        record.after = _after(row)
        row.whole("delay", 0, MAX_NS, default=0)
    if "t" in row.data:
        row.whole("t", 0, MAX_NS)
    _CHECKS[kind](row)
    for key in (*CARRIED[kind], "src"):
        if key in row.data:
            row.plain(key)
    row.close()
    return record


def _choice(row: Row, key: str, choices: tuple[str, ...], default: str) -> str:
    value = row.data.get(key, None if key == "k" else default)
    if isinstance(value, str) and value in choices:
        return value
    row.bad(key, row.found(key), f"one of {', '.join(choices)}")
    return default


def _object(row: Row, key: str, known: tuple[str, ...] | None = None) -> dict[str, Json]:
    """Take an object, with no other keys than those known, if any are given."""
    if key not in row.data:
        return {}
    data = as_map(row.data[key])
    if data is None:
        row.bad(key, row.found(key), "an object")
        return {}
    for other in data:
        if known is not None and other not in known:
            row.bad(f"{key}.{shown(other)}", "an unknown key", f"{', '.join(known)} or nothing")
    return as_map(row.plain(key)) or {}


def _inner(row: Row, key: str) -> Row:
    """Take an object's fields one by one; `_told` moves their problems to the record."""
    return Row(as_map(row.data.get(key)) or {})


def _told(row: Row, key: str, inner: Row) -> None:
    row.problems += [problem._replace(key=f"{key}.{problem.key}") for problem in inner.problems]


def _observed(row: Row) -> None:
    _object(row, "obs")
    inner = _inner(row, "obs")
    for key in inner.data:
        if key in ("ttft", "dur", "t"):
            inner.whole(key, 0, MAX_NS)
        elif key == "status":
            inner.text(key)
        elif not isinstance(inner.data[key], int | Decimal | str):
            inner.bad(shown(key), inner.found(key), "a number or text")
    _told(row, "obs", inner)


def _texts(row: Row, *keys: str) -> None:
    for key in keys:
        if key in row.data:
            row.text(key)


def _unknown_keys(row: Row, known: tuple[str, ...]) -> None:
    from difflib import get_close_matches

    for key in row.data:
        if key not in known:
            near = get_close_matches(key, known, n=1)
            cure = f'did you mean "{near[0]}"? ' if near else ""
            cure += "Fields of another source go into src"
            row.bad(shown(key), "an unknown key", "the fields of fstrace/1", cure)


def _after(row: Row) -> list[str] | None:
    if "after" not in row.data:
        return None
    after = as_list(row.data["after"])
    if after is not None and all(isinstance(item, str) for item in after):
        return [str(item) for item in after]
    row.bad("after", row.found("after"), "a list of ids")
    return []


def _check_session(row: Row) -> None:
    row.whole("priority", -1000, 1000, default=0)
    _texts(row, "agent", "client")
    for key in ("src", "slo"):
        _object(row, key)
    _object(row, "parent", ("sid", "tool"))
    if "parent" in row.data:
        inner = _inner(row, "parent")
        inner.text("sid")
        _texts(inner, "tool")
        _told(row, "parent", inner)


def _check_llm(row: Row) -> None:
    prompt = row.tokens("in")
    output = row.tokens("out")
    _choice(row, "initiator", ("user", "tool", "agent", "system"), "user")
    row.whole("cached", 0, prompt, default=0)
    row.whole("reason", 0, output, default=0)
    row.whole("n", 0, MAX_NS, default=0)
    if row.data.get("bs") is not None:
        row.whole("bs", 1, 1_000_000)
    row.whole("context", 0, MAX_CONTEXTS, default=0)
    row.whole("shared", 0, prompt, default=0)
    if row.data.get("step") != "":
        _texts(row, "step")
    row.whole("role", 0, MAX_ROLES, default=0)
    row.flag("retain_out", default=True)
    row.flag("reset", default=False)
    _texts(row, "model", "effort", "finish")
    _observed(row)
    _object(row, "mm", ("images", "image_tokens"))
    inner = _inner(row, "mm")
    inner.whole("images", 0, MAX_TOKENS, default=0)
    inner.whole("image_tokens", 0, prompt, default=0)
    _told(row, "mm", inner)


def _check_tool(row: Row) -> None:
    row.text("cls")
    duration = row.whole("dur", 0, MAX_NS)
    cores = row.number("cores", 1e-6, 1e6, 1.0)
    cpu = row.number("cpu_s", 0.0, 1e12, 0.0)
    if round(cpu / cores * 1e9) > duration:
        expected = f"at most dur times cores, {duration * cores / 1e9:g}"
        row.bad("cpu_s", f"{cpu:g}", expected, "raise cores to how many were busy")
    row.number("mem", 0.0, 1e18, 0.0)
    for key in ("in_bytes", "out_bytes", "io_r", "io_w", "net"):
        row.whole(key, 0, 10**15, default=0)
    row.whole("out_tokens", 0, MAX_TOKENS, default=0)
    _texts(row, "call", "name", "status", "sandbox")
    row.flag("blocking", default=True)
    row.whole("context", 0, MAX_CONTEXTS, default=0)
    _check_attempts(row, cores)
    spawns = as_list(row.data.get("spawns", []))
    if spawns is None or not all(isinstance(sid, str) for sid in spawns):
        row.bad("spawns", row.found("spawns"), "a list of ids of sessions")
    _observed(row)


def _check_attempts(row: Row, cores: float) -> None:
    """Check the attempts at a tool that failed before the one that the record tells of."""
    listed = as_list(row.data.get("failed", []))
    if listed is None or len(listed) > ATTEMPTS_MOST:
        row.bad("failed", row.found("failed"), f"a list of at most {ATTEMPTS_MOST} attempts")
        return
    for place, item in enumerate(listed):
        inner = Row(as_map(item) or {})
        duration = inner.whole("dur", 0, MAX_NS)
        inner.whole("backoff", 0, MAX_NS, default=0)
        cpu = inner.number("cpu_s", 0.0, 1e12, 0.0)
        if round(cpu / cores * 1e9) > duration:
            inner.bad("cpu_s", f"{cpu:g}", f"at most dur times cores, {duration * cores / 1e9:g}")
        for key in set(inner.data) - {"dur", "backoff", "cpu_s"}:
            inner.bad(shown(key), "an unknown key", "dur, cpu_s, backoff")
        _told(row, f"failed.{place}", inner)


def _check_gap(row: Row) -> None:
    row.whole("delay", 0, MAX_NS)
    _choice(row, "cls", ("user", "approval", "client"), "user")


_CHECKS = {
    "session": _check_session,
    "llm": _check_llm,
    "tool": _check_tool,
    "gap": _check_gap,
}
