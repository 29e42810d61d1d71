"""Reading the facts of one record, remembering which, and what is missing."""

from __future__ import annotations

from collections.abc import Mapping

from factorysim.catalog.fact import Fact, is_number
from factorysim.catalog.shipped import Tree
from factorysim.catalog.trees import descend
from factorysim.errors import CapacityError
from factorysim.errors import Fault as Told


class Reading:
    """Takes numbers and words of a record; tells all that is missing at once."""

    def __init__(
        self, facts: Mapping[str, Fact], record: Tree, path: str, variant: str | None = None
    ) -> None:
        self.path = path
        self._facts = facts
        self._record = record
        self._variant = variant
        self._used: dict[str, None] = {}
        self._missing: list[str] = []

    def text(self, key: str, default: str = "") -> str:
        """Word of the record, such as its name."""
        node = descend(self._record, key.split("."))
        return node if isinstance(node, str) else default

    def number(self, *keys: str) -> float | None:
        """First of these facts that has a value; keys are relative to the record."""
        return self.fact(*(f"{self.path}.{key}" for key in keys))

    def fact(self, *ids: str) -> float | None:
        """First of these facts that has a value, by their full ids."""
        for name in ids:
            value = self._value(name)
            if value is not None:
                self._used[name] = None
                return value
        return None

    def need(self, *keys: str) -> float:
        """As `number`; if none has a value, `check` will refuse the record."""
        value = self.number(*keys)
        if value is None:
            self._missing.append(f"{self.path}.{keys[0]}")
            return 0.0
        return value

    def count(self, *keys: str) -> int | None:
        """As `number`, for what is counted."""
        value = self.number(*keys)
        return None if value is None else int(value)

    def flag(self, key: str) -> bool | None:
        """Truth value of the record."""
        fact = self._facts.get(f"{self.path}.{key}")
        if fact is None or not isinstance(fact.value, bool):
            return None
        self._used[fact.id] = None
        return fact.value

    def variant_of(self, key: str) -> float | None:
        """Value of a fact at the operating point asked for, if it states one there."""
        fact = self._facts.get(f"{self.path}.{key}")
        for other in () if fact is None or self._variant is None else fact.alternatives:
            if other.variant == self._variant and is_number(other.value):
                self._used[f"{self.path}.{key}"] = None
                return float(other.value)
        return None

    def miss(self, key: str) -> None:
        """Note that a fact is missing."""
        self._missing.append(f"{self.path}.{key}")

    def used(self) -> tuple[str, ...]:
        """Ids of the facts read, in the order of reading."""
        return tuple(self._used)

    def check(self) -> None:
        """Refuse the record if a fact that it cannot do without has no value.

        Raises
        ------
        CapacityError
            With one fault for each missing fact.
        """
        if self._missing:
            raise CapacityError(*(self._missing_fault(fact) for fact in self._missing))

    def _value(self, name: str) -> float | None:
        fact = self._facts.get(name)
        if fact is None or not is_number(fact.value):
            return None
        key = name.removeprefix(f"{self.path}.")
        special = self.variant_of(key) if key != name else None
        return float(fact.value) if special is None else special

    def _missing_fault(self, fact: str) -> Told:
        known = self._facts.get(fact)
        note = f" ({known.note})" if known is not None and known.note else ""
        record = ".".join(fact.split(".")[:2])
        return Told(
            record,
            fact,
            f"nothing published{note}",
            "a number",
            f"give it in a file of facts of your own, `{fact}`, and name that file as `catalog:`",
        )
