"""What pydantic found wrong, in plain words and with lines."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from pydantic import ValidationError

from factorysim.errors import Fault, SpecError
from factorysim.marked import Marked, dotted, shown
from factorysim.spec.base import Spec
from factorysim.spec.shape import Slot, either, nearest

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

    from factorysim.marked import Path

S = TypeVar("S", bound=Spec)


def read_spec(model: type[S], marked: Marked) -> S:
    """Turn marked data into a spec.

    Raises
    ------
    SpecError
        With every fault, in the order of the file.

    Examples
    --------
    >>> from factorysim.spec.layout import ParallelSpec
    >>> from factorysim.yaml_reader import parse_yaml
    >>> read_spec(ParallelSpec, parse_yaml("{tp: 8}", "here"))
    ParallelSpec(tp=8, ep=1, pp=1, dp=1)
    >>> read_spec(ParallelSpec, parse_yaml("{tp: 8, pe: 2}", "here"))
    Traceback (most recent call last):
    ...
    factorysim.errors.SpecError: here:1: pe: found an unknown key, ...
    """
    try:
        return model.model_validate(marked.plain())
    except ValidationError as error:
        raise SpecError(*spec_faults(error, model, marked)) from None


def spec_faults(error: ValidationError, model: type[Spec], marked: Marked) -> list[Fault]:
    """Translate a validation error into one fault each, in file order.

    Parameters
    ----------
    marked
        What was validated; gives the lines.
    """
    found = error.errors(include_url=False)
    return sort_faults(_fault(details, model, marked) for details in found)


def sort_faults(faults: Iterable[Fault]) -> list[Fault]:
    """Put faults in the order of their lines, file by file as first met."""
    faults = list(faults)
    files = {fault.where.rpartition(":")[0]: None for fault in faults}
    rank = {file: number for number, file in enumerate(files)}

    def line(fault: Fault) -> tuple[int, int]:
        file, _, number = fault.where.rpartition(":")
        return rank[file], int(number) if number.isdigit() else 0

    return sorted(faults, key=line)


def _fault(details: ErrorDetails, model: type[Spec], marked: Marked) -> Fault:
    path, slot, holder = _walk(details["loc"], model)
    context = details.get("ctx", {})
    key, value = dotted(path), shown(details["input"])
    where = str(marked.nearest(path))
    match details["type"]:
        case "refused":
            path = (*path, *filter(None, context["key"].split(".")))
            where, key = str(marked.nearest(path)), dotted(path)
            return Fault(where, key, context["found"], context["expected"], context["cure"])
        case "quantity":
            return Fault(where, key, value, context["expected"], context["cure"])
        case "extra_forbidden":
            return _unknown_key(where, path, holder, marked)
        case "missing":
            return Fault(where, key, "nothing", slot.expected, f"add `{path[-1]}:`")
        case "union_tag_not_found":
            tag = context["discriminator"].strip("'")
            words = _tags(slot, tag)
            cure = f"add `{tag}:`, one of {either(words)}"
            return Fault(where, f"{key}.{tag}", "nothing", either(words), cure)
        case "union_tag_invalid":
            tag = context["discriminator"].strip("'")
            found = str(context["tag"])
            where = str(marked.nearest((*path, tag)))
            words = _tags(slot, tag)
            return Fault(where, f"{key}.{tag}", shown(found), either(words), nearest(found, words))
        case "string_pattern_mismatch":
            expected = "a name of at most 64 letters, digits, '-' and '_'"
            return Fault(where, key, value, expected)
        case "value_error":
            return Fault(where, key, value, str(context["error"]))
        case "too_short":
            return Fault(where, key, value, "at least one entry")
        case "literal_error":
            cure = nearest(str(details["input"]), slot.choices)
            return Fault(where, key, value, slot.expected, cure)
        case _:
            return Fault(where, key, value, slot.expected, _hint(details, slot))


def _walk(loc: Sequence[str | int], model: type[Spec]) -> tuple[Path, Slot, Slot]:
    """Strip pydantic's own words from a location; return it, its place, its holder's."""
    path: list[str | int] = []
    slot = holder = Slot.of(model)
    for step in loc:
        if step == "[key]":
            break
        member = slot.member(step) if len(slot.members()) > 1 else None
        if member is not None:
            slot = member
            continue
        path.append(step)
        holder, slot = slot, slot.inner(step) or Slot(object)
    return tuple(path), slot, holder


def _unknown_key(where: str, path: Path, holder: Slot, marked: Marked) -> Fault:
    known = tuple(holder.keys())
    home = _elsewhere(str(path[-1]), holder)
    cure = f"it belongs in `{home}:`" if home else nearest(str(path[-1]), known)
    above, here = marked.find(path[:-1]), marked.find(path)
    if above is not None and here is not None and above.mark.file != here.mark.file:
        cure = f"{cure} It comes from {here.mark.file}; `{path[-1]}: null` removes it".strip()
    return Fault(where, dotted(path), "an unknown key", f"one of {either(known, 'and')}", cure)


def _elsewhere(key: str, holder: Slot) -> str:
    """Find the key one level below that knows a misplaced key."""
    homes = (name for name, slot in holder.keys().items() if key in {*slot.keys()})
    return next(homes, "")


def _tags(slot: Slot, tag: str) -> tuple[str, ...]:
    """Return the words that tell the members of a union apart."""
    return tuple(word for member in slot.members() for word in member.keys()[tag].choices)


def _hint(details: ErrorDetails, slot: Slot) -> str:
    """Tell the cure for the slips that everybody makes."""
    value = details["input"]
    if slot.takes in (int, float) and isinstance(value, str):
        return "write it without quotes and without a unit"
    if slot.takes is str and isinstance(value, int | float):
        return "put it in quotes"
    return ""
