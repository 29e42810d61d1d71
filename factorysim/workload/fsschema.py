"""The JSON Schema of `fstrace/1`: of one line of a file, for editors and for other programs.

It says of each field what the reader checks of it alone. What takes several fields or
records (a prompt of fewer tokens than it repeats, ids that nothing has, cycles) is
told by the reader only.
"""

from __future__ import annotations

from typing import Any

from factorysim.workload.readers.fsrecords import (
    ATTEMPTS_MOST,
    CARRIED,
    MAX_CONTEXTS,
    MAX_ROLES,
    META,
    SCHEMA,
    SIMULATED,
)
from factorysim.workload.rows import MAX_NS, MAX_TOKENS

Schema = dict[str, Any]

REQUIRED = {
    "meta": ("k", "schema"),
    "session": ("k", "sid"),
    "llm": ("k", "in", "out"),
    "tool": ("k", "cls", "dur"),
    "gap": ("k", "delay"),
}


def _whole(low: int, high: int, what: str) -> Schema:
    return {"type": "integer", "minimum": low, "maximum": high, "description": what}


def _number(low: float, high: float, what: str) -> Schema:
    return {"type": "number", "minimum": low, "maximum": high, "description": what}


def _text(what: str) -> Schema:
    return {"type": "string", "minLength": 1, "maxLength": 1000, "description": what}


def _one_of(what: str, *words: str) -> Schema:
    return {"enum": list(words), "description": what}


def _or_null(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def _object(what: str, **properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "description": what}


_IDS = {"type": "array", "items": {"type": "string"}}
_FLAG = {"type": "boolean"}
_BYTES = _whole(0, 10**15, "bytes")
_RUN = {
    "anyOf": [
        {"type": "integer", "minimum": 0},
        {
            "type": "array",
            "prefixItems": [
                {"type": "integer", "minimum": 0},
                {"type": "integer", "minimum": 1},
            ],
            "minItems": 2,
            "maxItems": 2,
        },
    ]
}
_OBSERVED = _object(
    "What was recorded and is not replayed; further fields are numbers or text.",
    ttft=_whole(0, MAX_NS, "ns from the request to the first token"),
    dur=_whole(0, MAX_NS, "ns from the request to the last token"),
    t=_whole(0, MAX_NS, "ns: when it began"),
    status=_text("how it ended"),
) | {"additionalProperties": {"type": ["number", "string", "boolean"]}}

_COMMON: dict[str, Schema] = {
    "sid": _text("Id of the session; a record without one is a session of its own."),
    "id": _text("Of the record, once in a session; n0, n1 .. by place if not given."),
    "t": _whole(0, MAX_NS, "ns: recorded start, since the trace's first instant"),
    "after": _IDS | {"description": "Ids of the records of its session that it waits for."},
    "delay": _whole(0, MAX_NS, "ns between the last of `after` and this"),
    "src": {"description": "Fields of the source that have no name here, kept as they are."},
    "obs": _OBSERVED,
}
_FIELDS: dict[str, dict[str, Schema]] = {
    "meta": {
        "schema": {"const": SCHEMA},
        "name": _text("Of the trace."),
        "source": _object("Where it is from.", repo={}, path={}, commit={}, license={}),
        "origin_format": _text("Of the file that it was read from."),
        "epoch": _or_null(_text("UTC time of time 0.")),
        "block_size": _or_null(_whole(1, 1_000_000, "tokens of a block of `hashes`")),
        "hash_scope": _one_of("Where an id means the same tokens.", "global", "session"),
        "prompt_mode": _one_of("Whether `in` and `hashes` list whole prompts.", "full", "delta"),
        "tokenizer": _or_null(_text("That counted the tokens.")),
        "vocab": _object("Words that fields use, by field."),
    },
    "session": {
        "agent": _text("What kind of agent it is."),
        "client": _text("Whose it is."),
        "parent": _object("Whose sub-agent it is.", sid=_text("session"), tool=_text("record"))
        | {"required": ["sid"], "additionalProperties": False},
        "priority": _whole(-1000, 1000, "lower goes first"),
        "slo": _object("What was promised."),
        "src": {"type": "object", "description": "Fields of the source, kept as they are."},
    },
    "llm": {
        "n": _whole(0, MAX_NS, "place in the source"),
        "initiator": _one_of("What set it off.", "user", "tool", "agent", "system"),
        "in": _whole(1, MAX_TOKENS, "tokens of the prompt"),
        "out": _whole(1, MAX_TOKENS, "tokens of the output, reasoning included"),
        "reason": _whole(0, MAX_TOKENS, "of them, reasoning"),
        "cached": _whole(0, MAX_TOKENS, "leading tokens that repeat the last of its context"),
        "shared": _whole(0, MAX_TOKENS, "leading tokens that all sessions of the agent share"),
        "hashes": {"type": "array", "items": _RUN, "description": "Blocks, or [first, count]."},
        "bs": _or_null(_whole(1, 1_000_000, "tokens of a block")),
        "context": _whole(0, MAX_CONTEXTS, "whose history it goes on: 0 the main agent's"),
        "role": _whole(0, MAX_ROLES, "which kind of sub-agent: those of a role begin alike"),
        "step": {"type": "string", "maxLength": 1000, "description": "What it does, for routing."},
        "model": _text("That answered."),
        "effort": _text("Of its reasoning."),
        "retain_out": _FLAG | {"description": "Whether the next prompt holds its output."},
        "reset": _FLAG | {"description": "Whether its context begins afresh."},
        "mm": _object(
            "What is in the prompt besides text.",
            images=_whole(0, MAX_TOKENS, "images"),
            image_tokens=_whole(0, MAX_TOKENS, "tokens of the prompt that are of new images"),
        )
        | {"additionalProperties": False},
        "finish": _text("Why it ended."),
    },
    "tool": {
        "call": _text("Id of the call that asked for it; what it waits for without `after`."),
        "cls": _text("Class of the tool."),
        "name": _text("As the agent calls it."),
        "dur": _whole(0, MAX_NS, "ns from begin to end"),
        "cpu_s": _number(0, 1e12, "core-seconds, at most dur times cores"),
        "cores": _number(1e-6, 1e6, "that it keeps busy at once"),
        "mem": _number(0, 1e18, "bytes of memory"),
        "io_r": _BYTES,
        "io_w": _BYTES,
        "net": _BYTES,
        "in_bytes": _BYTES,
        "out_bytes": _BYTES,
        "out_tokens": _whole(0, MAX_TOKENS, "tokens of its answer"),
        "context": _whole(0, MAX_CONTEXTS, "whose calls ask for it: 0 the main agent's"),
        "failed": {
            "type": "array",
            "maxItems": ATTEMPTS_MOST,
            "description": "Attempts before the one that the other fields tell of.",
            "items": _object(
                "One attempt.",
                dur=_whole(0, MAX_NS, "ns from begin to end"),
                cpu_s=_number(0, 1e12, "core-seconds"),
                backoff=_whole(0, MAX_NS, "ns until the next attempt"),
            )
            | {"required": ["dur"], "additionalProperties": False},
        },
        "status": _text("How it ended: `failed` and `timeout` are counted."),
        "blocking": _FLAG | {"description": "Whether the agent waited for it."},
        "sandbox": _text("That it ran in."),
        "spawns": _IDS | {"description": "Sessions of the sub-agents that it began."},
    },
    "gap": {"cls": _one_of("Who took the time.", "user", "approval", "client")},
}


def fstrace_schema() -> Schema:
    """Give the schema of a line of an fstrace.

    Examples
    --------
    >>> [kind["properties"]["k"]["const"] for kind in fstrace_schema()["oneOf"]]
    ['meta', 'session', 'llm', 'tool', 'gap']
    """
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"a line of {SCHEMA}",
        "description": "The first line of a file is a meta record, the others are not.",
        "oneOf": [_kind("meta", META)]
        + [_kind(kind, (*SIMULATED[kind], *CARRIED[kind])) for kind in SIMULATED],
    }


def _kind(kind: str, keys: tuple[str, ...]) -> Schema:
    """Make the schema of a kind of record: the fields that the reader knows, and no others."""
    known: dict[str, Schema] = _COMMON | _FIELDS[kind] | {"k": {"const": kind}}
    return {
        "type": "object",
        "properties": {key: known[key] for key in dict.fromkeys(keys)},
        "required": list(REQUIRED[kind]),
        "additionalProperties": False,
    }
