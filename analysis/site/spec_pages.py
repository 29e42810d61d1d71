"""The keys of every kind of file, walked through the specs that read them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import NoneType
from typing import Literal, get_args, get_origin

import annotated_types as bounds
from pieces import MADE, cell, code, prose, table
from pydantic import BaseModel, StringConstraints
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from factorysim.spec.agent import AgentSpec
from factorysim.spec.base import Quantity
from factorysim.spec.scenario import ScenarioSpec
from factorysim.spec.shape import Slot
from factorysim.spec.site import SiteSpec
from factorysim.spec.topology import TopologySpec
from factorysim.units import UNITS

ROOTS: dict[str, tuple[type[BaseModel], str]] = {
    "scenario": (ScenarioSpec, "A factory, what it serves, the demand on it, and how to run it."),
    "topology": (TopologySpec, "Which racks stand there, and what joins them."),
    "agent": (AgentSpec, "What a session of an agent is made of, every number with its evidence."),
    "site": (SiteSpec, "Where the factory stands, and what power costs there."),
}
RULES = """\
YAML 1.2. A key that is not below is refused with its line, and a near one suggested. `extends:
FILE` lays a file over another: maps merge key by key, lists are replaced whole, `null` deletes. A
*quantity* is a number with a unit ([below](#units)), SI inside. `factorysim schema {kind}` prints
the same as JSON Schema, for editors; `factorysim validate FILE` checks a file.
"""
WORDS: dict[object, str] = {
    str: "text",
    int: "whole number",
    float: "number",
    bool: "true or false",
}
SIGNS = (
    (bounds.Ge, "ge", "at least {}"),
    (bounds.Gt, "gt", "above {}"),
    (bounds.Le, "le", "at most {}"),
    (bounds.Lt, "lt", "below {}"),
    (bounds.MinLen, "min_length", "with at least {}"),
)


def pages() -> dict[str, str]:
    """Make a page for each kind of file."""
    return {f"reference/{kind}.md": _page(kind) for kind in ROOTS}


def _page(kind: str) -> str:
    root, purpose = ROOTS[kind]
    models = list(_reachable(root))
    head = f"{MADE}# {kind.capitalize()} files\n\n{purpose}\n\n{RULES.format(kind=kind)}"
    sections = [_section(model, top=model is root) for model in models]
    return "\n".join((head, *sections, _units(models)))


def _reachable(root: type[BaseModel]) -> Iterator[type[BaseModel]]:
    """Give a spec and all that may stand somewhere in it, outer ones first."""
    found = [root]
    for model in found:
        yield model
        for _, slot in _keys(model):
            found += [inner for inner in _models(slot) if inner not in found]


def _keys(model: type[BaseModel]) -> list[tuple[str, Slot]]:
    return [
        (field.alias or name, Slot.of(field.annotation, field.metadata))
        for name, field in model.model_fields.items()
    ]


def _models(slot: Slot) -> Iterator[type[BaseModel]]:
    """Give the specs that may stand at a place, or below it in a list or a map."""
    for member in slot.members():
        if isinstance(member.takes, type) and issubclass(member.takes, BaseModel):
            yield member.takes
        elif get_origin(member.takes) in (dict, list, tuple):
            for inner in get_args(member.takes):
                yield from _models(Slot.of(inner))


def _section(model: type[BaseModel], *, top: bool) -> str:
    title = "The file" if top else _title(model)
    rows = [_row(name, field) for name, field in model.model_fields.items()]
    head = ("Key", "Takes", "Meaning")
    return f"## {title} {{ #{_anchor(model)} }}\n\n{prose(model.__doc__)}\n\n{table(head, rows)}"


def _title(model: type[BaseModel]) -> str:
    return model.__name__.removesuffix("Spec")


def _anchor(model: type[BaseModel]) -> str:
    return _title(model).lower()


def _row(name: str, field: FieldInfo) -> tuple[str, str, str]:
    slot = Slot.of(field.annotation, field.metadata)
    limits, default = _limits(field.metadata), _default(field, slot)
    takes = _takes(slot) + (f", {limits}" if limits else "") + (f"; {default}" if default else "")
    return code(field.alias or name), takes, cell(field.description or "")


def _default(field: FieldInfo, slot: Slot) -> str:
    """Tell what holds where a key is not given, unless that is nothing."""
    if field.is_required():
        return "**required**"
    value = field.default
    if value is PydanticUndefined or value is None or value == {} or isinstance(value, BaseModel):
        return ""
    quantity = _quantity(slot)
    if quantity is not None:
        value = quantity.write(value)
    if isinstance(value, list | tuple):
        value = f"[{', '.join(map(str, value))}]"
    told = code(str(value).lower() if isinstance(value, bool) else value)
    return "" if told == _takes(slot) else f"default {told}"  # it is the only choice


def _quantity(slot: Slot) -> Quantity | None:
    return next((mark for mark in slot.metadata if isinstance(mark, Quantity)), None)


def _takes(slot: Slot) -> str:
    """Tell in words what a place takes."""
    quantity = _quantity(slot)
    if quantity is not None:
        words = "".join(f"{code(word)} or " for word in quantity.words)
        return f"{words}{quantity.name}: {code(quantity.example)}"
    kinds = dict.fromkeys(_kind(member) for member in slot.members())
    return " or ".join(kind for kind in kinds if kind)


def _kind(slot: Slot) -> str:
    takes, inner = slot.takes, get_args(slot.takes)
    if _quantity(slot) is not None:
        return _takes(slot)
    if isinstance(takes, type) and issubclass(takes, BaseModel):
        return f"[{_title(takes)}](#{_anchor(takes)})"
    match get_origin(takes):
        case origin if origin is Literal:
            return " or ".join(code(str(v).lower() if isinstance(v, bool) else v) for v in inner)
        case origin if origin is dict:
            return f"map of {_names(Slot.of(inner[0]))} to {_takes(Slot.of(inner[1]))}"
        case origin if origin is list:
            return f"list of {_takes(Slot.of(inner[0]))}"
        case origin if origin is tuple:
            told = [_takes(Slot.of(each)) for each in inner if each is not ...]
            return f"list of {' and '.join(told)}"
    if takes is NoneType:
        return ""
    return WORDS.get(takes, code(getattr(takes, "__name__", takes)))


def _names(slot: Slot) -> str:
    """Tell what the keys of a map are."""
    if any(isinstance(mark, StringConstraints) for mark in slot.metadata) or slot.takes is str:
        return "names"
    return _takes(slot)


def _limits(metadata: Sequence[object]) -> str:
    """Tell the bounds of a number, or of a list's length."""
    told = [
        sign.format(getattr(mark, key))
        for mark in metadata
        for kind, key, sign in SIGNS
        if isinstance(mark, kind)
    ]
    return ", ".join(told)


def _units(models: list[type[BaseModel]]) -> str:
    """Tell the units of the quantities that the specs have."""
    used = {
        quantity.dimension: quantity.name
        for model in models
        for _, slot in _keys(model)
        for quantity in _quantities(slot)
    }
    rows = [
        (name, ", ".join(code(unit) for unit in UNITS[dimension] if unit))
        for dimension, name in used.items()
    ]
    note = "\n`b` is a bit and `B` a byte; GB is 1e9 bytes, GiB is 2**30.\n"
    return f"## Units\n\n{table(('Quantity', 'Units'), rows)}{note}"


def _quantities(slot: Slot) -> Iterator[Quantity]:
    found = _quantity(slot)
    if found is not None:
        yield found
    elif len(slot.members()) > 1:
        for member in slot.members():
            yield from _quantities(member)
    elif get_origin(slot.takes) in (dict, list, tuple):
        for inner in get_args(slot.takes):
            yield from _quantities(Slot.of(inner))
