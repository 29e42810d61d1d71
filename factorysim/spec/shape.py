"""The shape of a spec: what may stand at a dotted path, and how to say so."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from types import NoneType, UnionType
from typing import Annotated, Literal, NamedTuple, TypeAlias, Union, get_args, get_origin

from pydantic import BaseModel, Tag

from factorysim.spec.base import Quantity

Annotation: TypeAlias = object
"""A type as an annotation spells it."""


class Slot(NamedTuple):
    """A place in a file: the type that it takes, with what is said about it."""

    takes: Annotation
    metadata: tuple[object, ...] = ()

    @classmethod
    def of(cls, annotation: Annotation, metadata: Sequence[object] = ()) -> Slot:
        """Take an annotation apart; `X | None` counts as X."""
        if get_origin(annotation) is Annotated:
            inner, *more = get_args(annotation)
            return cls.of(inner, (*metadata, *more))
        if get_origin(annotation) in (Union, UnionType):
            members = [member for member in get_args(annotation) if member is not NoneType]
            if len(members) == 1:
                return cls.of(members[0], metadata)
        return cls(annotation, tuple(metadata))

    def members(self) -> tuple[Slot, ...]:
        """Return the alternatives of a union; of anything else, itself."""
        if get_origin(self.takes) not in (Union, UnionType):
            return (self,)
        return tuple(Slot.of(member) for member in get_args(self.takes) if member is not NoneType)

    def models(self) -> tuple[type[BaseModel], ...]:
        """Return the specs that may stand here."""
        kinds = (member.takes for member in self.members())
        return tuple(
            kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)
        )

    def keys(self) -> dict[str, Slot]:
        """Return the keys that a file may write here, with their places."""
        return {
            field.alias or name: Slot.of(field.annotation, field.metadata)
            for model in self.models()
            for name, field in model.model_fields.items()
        }

    def named(self) -> Slot | None:
        """Return the place of each entry, if this is a map by the user's names."""
        if get_origin(self.takes) is dict:
            return Slot.of(get_args(self.takes)[1])
        return None

    @property
    def names(self) -> tuple[str, ...]:
        """The only names that entries of this map may have; none if any will do."""
        return Slot.of(get_args(self.takes)[0]).choices if get_origin(self.takes) is dict else ()

    @property
    def takes_list(self) -> bool:
        """Whether a list stands here."""
        return get_origin(self.takes) in (list, tuple)

    def inner(self, key: str | int) -> Slot | None:
        """Return the place below this one, if there may be one."""
        if isinstance(key, int):
            return Slot.of(get_args(self.takes)[0]) if get_origin(self.takes) is list else None
        return self.named() or self.keys().get(key)

    def member(self, tag: object) -> Slot | None:
        """Return the alternative of a union that pydantic calls by a tag."""
        for member in self.members():
            if any(isinstance(note, Tag) and note.tag == tag for note in member.metadata):
                return member
            if any(slot.choices == (tag,) for slot in member.keys().values()):
                return member
        return None

    @property
    def choices(self) -> tuple[str, ...]:
        """The words of which one is written here; none if other things are."""
        return tuple(map(str, get_args(self.takes))) if get_origin(self.takes) is Literal else ()

    @property
    def quantity(self) -> Quantity | None:
        """The quantity that is written here, if it is one."""
        return next((note for note in self.metadata if isinstance(note, Quantity)), None)

    @property
    def expected(self) -> str:
        """What a message says that it wants here.

        Examples
        --------
        >>> from factorysim.spec.layout import ParallelSpec
        >>> from factorysim.spec.router import RouterSpec
        >>> Slot.of(ParallelSpec).keys()["tp"].expected
        'a whole number from 1 to 4096'
        >>> Slot.of(RouterSpec).keys()["snapshot"].expected
        "a time such as '2 s'"
        """
        if self.quantity is not None:
            return self.quantity.expected
        if self.choices:
            return either(self.choices)
        if self.named() is not None:
            return "a map of names"
        if any(model for model in self.models()):
            words = "a name, or " if any(member.takes is str for member in self.members()) else ""
            return f"{words}a map with {either(tuple(self.keys()), 'or')}"
        kind: dict[object, str] = {
            int: "a whole number",
            float: "a number",
            bool: "true or false",
            str: "text",
        }
        if self.takes_list:
            choices = Slot.of(get_args(self.takes)[0]).choices
            return f"a list of {either(choices)}" if choices else "a list"
        return kind.get(self.takes, "another kind of value") + self._range()

    def _range(self) -> str:
        """Tell the bounds of a number."""
        found: dict[str, object] = {}
        for note in self.metadata:
            found |= {bound: getattr(note, bound) for bound in _BOUNDS if hasattr(note, bound)}
        text = f" from {_number(found['ge'])}" if "ge" in found else ""
        if "gt" in found:
            text = f" above {_number(found['gt'])}"
        if "le" in found:
            text += f"{' to' if 'ge' in found else ', at most'} {_number(found['le'])}"
        if "lt" in found:
            text += f", below {_number(found['lt'])}"
        return text


_BOUNDS = ("ge", "gt", "le", "lt")


def _number(value: object) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def either(words: Sequence[str], joint: str = "or") -> str:
    """List alternatives: ``a, b or c``."""
    *most, last = words or ("nothing",)
    return f"{', '.join(most)} {joint} {last}" if most else last


def nearest(word: str, words: Sequence[str]) -> str:
    """Return ``did you mean "x"?``, or nothing where no word is near.

    Examples
    --------
    >>> nearest("stremas", ["streams", "llms"])
    'did you mean "streams"?'
    """
    folded = {other.casefold(): other for other in words}
    close = get_close_matches(word.casefold(), folded, n=1, cutoff=0.65)
    return f'did you mean "{folded[close[0]]}"?' if close else ""
