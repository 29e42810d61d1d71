"""A record of the catalog in the making: facts by their path, each with how it is known."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from factorysim.load.huggingface.config import Told


class Leaf(NamedTuple):
    """A fact to be."""

    value: int | bool | None
    unit: str
    kind: Literal["vendor_spec", "derived", "unknown"]
    note: str


class Draft:
    """Facts and words of an LLM, in the order in which the file will have them."""

    def __init__(self) -> None:
        self.leaves: dict[str, Leaf] = {}
        self.words: dict[str, str] = {}

    def state(self, path: str, told: Told | None, unit: str = "count") -> int:
        """Take what the config says, if it says anything."""
        if told is None:
            return 0
        note = told.key if not told.usual else f"{told.key}: not in the file, its class takes this"
        self.leaves[path] = Leaf(told.value, unit, "derived" if told.usual else "vendor_spec", note)
        return told.value

    def derive(self, path: str, value: int | bool, how: str, unit: str = "count") -> None:
        """Take what follows from the config."""
        self.leaves[path] = Leaf(value, unit, "derived", how)

    def leave_open(self, path: str, unit: str, why: str) -> None:
        """List what the config does not tell."""
        self.leaves[path] = Leaf(None, unit, "unknown", why)
