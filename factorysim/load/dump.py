"""Canonical YAML: one text for one spec, which reads back to the same spec."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from factorysim.yaml_reader import parse_yaml

if TYPE_CHECKING:
    from factorysim.spec.base import Spec
    from factorysim.spec.twin import TwinSpec

_PLAIN = re.compile(r"[A-Za-z0-9][A-Za-z0-9_./%-]*( [A-Za-z0-9_./%-]+)*", re.ASCII)


def dump_spec(spec: Spec) -> str:
    """Write a spec as canonical YAML: all values, units, keys in the spec's order.

    Examples
    --------
    >>> from factorysim.spec.router import RouterSpec
    >>> print(dump_spec(RouterSpec(snapshot="100 ms")), end="")
    policy: least_outstanding
    snapshot: 0.1 s
    """
    return dump_tree(spec.model_dump(mode="json", by_alias=True, exclude_none=True))


def dump_twin(spec: TwinSpec) -> str:
    """Write a twin as YAML that reads back as the same; whole numbers without a point.

    Examples
    --------
    >>> _whole({"values": [1.0, 2.5]})
    {'values': [1, 2.5]}
    """
    data = spec.model_dump(mode="json", by_alias=True, exclude_none=True, exclude_defaults=True)
    return dump_tree({"schema": data.pop("schema"), **{k: _whole(v) for k, v in data.items()}})


def _whole(value: object) -> object:
    if isinstance(value, Mapping):
        return {key: _whole(child) for key, child in value.items()}
    if isinstance(value, list):
        return [_whole(child) for child in value]
    if isinstance(value, float) and value.is_integer():
        return int(value)
    return value


def dump_tree(data: Mapping[str, object]) -> str:
    """Write plain data as YAML in the form of `dump_spec`.

    Examples
    --------
    >>> print(dump_tree({"kv": {"blocks": 4000}, "order": "fcfs"}), end="")
    kv:
      blocks: 4000
    order: fcfs
    """
    return "".join(f"{line}\n" for line in _lines(data, ""))


def _lines(data: Mapping[str, object], indent: str) -> Iterator[str]:
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            yield f"{indent}{_scalar(key)}:"
            yield from _lines(value, indent + "  ")
        else:
            yield f"{indent}{_scalar(key)}: {_flow(value)}"


def _flow(value: object) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_scalar(k)}: {_flow(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_flow, value)) + "]"
    return _scalar(value)


def _scalar(value: object) -> str:
    """Write a scalar; text in quotes unless it plainly reads back as itself."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, str):
        return "null" if value is None else repr(value)
    if _PLAIN.fullmatch(value) and parse_yaml(value, "").value == value:
        return value
    return '"' + "".join(map(_escape, value)) + '"'


def _escape(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    if character.isprintable():
        return character
    if character == "\n":
        return "\\n"
    return f"\\U{ord(character):08x}"
