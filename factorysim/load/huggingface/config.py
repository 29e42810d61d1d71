"""Reading a ``config.json``: typed values, and every fault of them at once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeGuard

from factorysim.errors import Fault
from factorysim.marked import shown

MOST = 100_000_000
"""Of anything that a config counts: what is larger is no LLM."""
LAYERS_MOST = 10_000


class Told(NamedTuple):
    """A number of the config, and how it came about."""

    value: int
    key: str
    usual: bool = False
    """The file does not say: it is what the architecture's own class takes then."""


class Config:
    """The part of a config that tells the LLM's shapes, with what its class takes if silent."""

    def __init__(
        self, where: str, tree: Mapping[str, object], prefix: str = "", outer: Config | None = None
    ) -> None:
        self.where = where
        self._tree = tree
        self._prefix = prefix
        self.outer = outer
        """Of a multimodal config: the whole of it."""
        self.usual: Mapping[str, object] = {}
        """Key -> what the architecture's class takes where the file is silent."""
        self.faults: list[Fault] = [] if outer is None else outer.faults

    def fault(self, key: str, found: str, expected: str, cure: str = "") -> None:
        """Note what is wrong; `overlay` raises all of it together."""
        self.faults.append(Fault(self.where, f"{self._prefix}{key}", found, expected, cure))

    def contradiction(self, key: str, found: str, expected: str, cure: str = "") -> None:
        """Note that values fit not together, unless one of them is wrong by itself."""
        if not self.faults:
            self.fault(key, found, expected, cure)

    def keys(self) -> tuple[str, ...]:
        """Names of what is written here."""
        return tuple(self._tree)

    def raw(self, key: str) -> object:
        """Value as written; None if the file is silent, or says null."""
        return self._tree.get(key)

    def text(self, key: str) -> str:
        """Word of the file; empty if there is none."""
        value = self._tree.get(key)
        if value is None or isinstance(value, str):
            return value or ""
        self.fault(key, shown(value), "text in quotes")
        return ""

    def child(self, key: str) -> Config | None:
        """Part of the file under a key, if it has one."""
        value = self._tree.get(key)
        if value is None:
            return None
        if not is_object(value):
            self.fault(key, shown(value), "a map")
            return None
        return Config(self.where, value, f"{self._prefix}{key}.", self)

    def count(self, *keys: str, least: int = 1, most: int = MOST) -> Told | None:
        """First of these keys that is told, else what the class takes; None if neither.

        A null in the file is the file's word: the class takes nothing else for it then.
        """
        silent = tuple(key for key in keys if key not in self._tree)
        for tree, asked in ((self._tree, keys), (self.usual, silent)):
            for key in asked:
                value = tree.get(key)
                if value is not None:
                    return Told(self._whole(key, value, least, most), key, tree is self.usual)
        return None

    def need(self, *keys: str, least: int = 1, most: int = MOST) -> Told:
        """As `count`, of what no record can do without."""
        told = self.count(*keys, least=least, most=most)
        if told is None:
            others = f", or {', '.join(keys[1:])}" if len(keys) > 1 else ""
            cure = f"no LLM can be counted without it{others}: is this the whole config.json?"
            self.fault(keys[0], "nothing", _range(least, most), cure)
            told = Told(max(least, 1), keys[0])
        return told

    def flag(self, key: str) -> tuple[bool, bool]:
        """Truth value, and whether it is the class's own choice; of the text, or of the whole."""
        for config in (self, self.outer):
            value = None if config is None else config.raw(key)
            if isinstance(value, bool):
                return value, False
            if config is not None and value is not None:
                config.fault(key, shown(value), "true or false")
        return bool(self.usual.get(key, False)), True

    def words(self, key: str, among: tuple[str, ...], length: int) -> list[str] | None:
        """List of words, one a layer; None if the file is silent."""
        value = self._tree.get(key)
        if value is None:
            return None
        if not isinstance(value, list):
            self.fault(key, shown(value), f"a list of {length} words")
            return None
        items: list[object] = value
        for item in items:
            if item not in among:
                cure = "factorysim has no record for layers of another kind"
                self.fault(key, shown(item), f"one of {', '.join(among)}", cure)
                return None
        if len(items) != length:
            self.fault(key, f"a list of {len(items)}", f"{length} words, one a layer")
            return None
        return [str(item) for item in items]

    def numbers(self, key: str, most: int) -> list[int] | None:
        """List of whole numbers from 0; None if the file is silent."""
        value = self._tree.get(key)
        if value is None:
            return None
        if not isinstance(value, list) or len(value) > LAYERS_MOST:
            self.fault(key, shown(value), "a list of whole numbers")
            return None
        items: list[object] = value
        return [self._whole(key, item, 0, most) for item in items]

    def _whole(self, key: str, value: object, least: int, most: int) -> int:
        cure = "write a number without quotes, point or exponent"
        if isinstance(value, int) and not isinstance(value, bool):
            if least <= value <= most:
                return value
            cure = "is this the config of an LLM?"
        self.fault(key, shown(value), _range(least, most), cure)
        return max(least, 1)


def is_object(value: object) -> TypeGuard[Mapping[str, object]]:
    """Whether a value of a JSON file is an object; its keys are text then."""
    return isinstance(value, Mapping)


def _range(least: int, most: int) -> str:
    return f"a whole number from {least} to {most:,}"
