"""The base of every spec, the types of quantities, and the rule for names."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, StringConstraints
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from factorysim.units import UNITS, format_quantity, parse_quantity

if TYPE_CHECKING:
    from factorysim.units import Dimension


class Spec(BaseModel):
    """What a user writes: frozen, strict in types, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True,
        strict=True,
        extra="forbid",
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        serialize_by_alias=True,
    )


def refuse(key: str, found: str, expected: str, cure: str = "") -> PydanticCustomError:
    """Make the error of a spec's own validator, so that it is told like any other.

    Parameters
    ----------
    key
        Dotted path below the spec that the validator belongs to.
    """
    told = {"key": key, "found": found, "expected": expected, "cure": cure}
    return PydanticCustomError("refused", "found {found}, expected {expected}", told)


@dataclass(frozen=True, slots=True)
class Quantity:
    """Marks a float that is written with a unit and held in SI.

    Examples
    --------
    >>> Quantity("seconds", "a time", "2 s").read("2 min")
    120.0
    >>> Quantity("seconds", "a time", "2 s").write(90.0)
    '90 s'
    """

    dimension: Dimension
    name: str
    example: str
    low: float = 0.0
    high: float = 1e30
    """Bounds in SI: no sane file passes them, and arithmetic is safe within."""
    words: tuple[str, ...] = ()
    """What may be written instead of a number."""

    @property
    def expected(self) -> str:
        """What a message says that it wants."""
        words = "".join(f"'{word}' or " for word in self.words)
        above = " above zero" if self.low > 0 else ""
        return f"{words}{self.name}{above} such as '{self.example}'"

    @property
    def bare(self) -> bool:
        """Whether a number without a unit will do."""
        return "" in UNITS[self.dimension]

    def read(self, value: object) -> float | str:
        """Turn ``"80 GB"`` into 8e10.

        Raises
        ------
        PydanticCustomError
            If it is no such quantity, or out of bounds; its cure tells why.
        """
        if isinstance(value, str):
            if value in self.words:
                return value
            try:
                number = parse_quantity(value, self.dimension)
            except ValueError:
                raise self._refuse(self._units()) from None
        elif self.bare and isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
        else:
            raise self._refuse(self._units())
        if self.low <= number <= self.high:
            return number
        raise self._refuse(self._bounds(number))

    def write(self, value: float | str) -> float | str:
        """Write an SI value in its largest unit that gives it back exactly."""
        if isinstance(value, str) or self.bare:
            return value
        texts = [format_quantity(value, self.dimension)]
        for unit, factor in UNITS[self.dimension].items():
            if factor > 1.0 and "b" not in unit and "i" not in unit[:2] and value >= factor:
                text = f"{value / factor:.15g} {unit}"
                if parse_quantity(text, self.dimension) == value:
                    texts.append(text)
        return min(texts, key=len).replace(".0 ", " ")

    def _bounds(self, number: float) -> str:
        if number <= 0:
            return "it must be above zero" if self.low > 0 else "it must not be negative"
        side, bound = ("least", self.low) if number < self.low else ("most", self.high)
        return f"it must be at {side} {bound:g}{format_quantity(1.0, self.dimension)[3:]}"

    def _units(self) -> str:
        return f"units: {', '.join(unit for unit in UNITS[self.dimension] if unit)}"

    def _refuse(self, cure: str) -> PydanticCustomError:
        return PydanticCustomError(
            "quantity", "expected {expected}", {"expected": self.expected, "cure": cure}
        )

    def __get_pydantic_core_schema__(
        self, source: object, handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        return core_schema.no_info_plain_validator_function(
            self.read,
            serialization=core_schema.plain_serializer_function_ser_schema(self.write),
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, handler: object) -> dict[str, Any]:
        units = "|".join(unit for unit in UNITS[self.dimension] if unit)
        number = rf"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d{{1,3}})?\s*({units})"
        pattern = "^\\s*(" + "|".join((*self.words, number)) + ")\\s*$"
        text = {"type": "string", "pattern": pattern, "examples": [self.example]}
        if not self.bare:
            return text
        return {"anyOf": [{"type": "number", "minimum": self.low, "maximum": self.high}, text]}


_YEARS_1000 = 1000 * UNITS["seconds"]["year"]

Bytes = Annotated[float, Quantity("bytes", "a size", "80 GB")]
BytesPerSecond = Annotated[
    float, Quantity("bytes_per_s", "a bandwidth", "800 Gb/s", low=1e-6, high=1e24)
]
Seconds = Annotated[float, Quantity("seconds", "a time", "2 s", high=_YEARS_1000)]
PositiveSeconds = Annotated[
    float, Quantity("seconds", "a time", "2 s", low=1e-15, high=_YEARS_1000)
]
SecondsOrAuto = Annotated[
    float | Literal["auto"],
    Quantity("seconds", "a time", "10 min", high=_YEARS_1000, words=("auto",)),
]
Watts = Annotated[float, Quantity("watts", "a power", "120 kW", high=1e15)]
TokensPerSecond = Annotated[
    float, Quantity("tokens_per_s", "a rate", "50000 tok/s", low=1e-6, high=1e15)
]
PerSecond = Annotated[float, Quantity("per_s", "a rate", "2/s", low=1e-12, high=1e12)]
Ratio = Annotated[float, Quantity("ratio", "a share", "95 %", high=1e6)]
Share = Annotated[float, Quantity("ratio", "a share", "95 %", high=1.0)]
GramsPerKwh = Annotated[float, Quantity("g_per_kwh", "an intensity", "370 g/kWh", high=1e6)]
MoneyPerKwh = Annotated[float, Quantity("money_per_kwh", "a price", "0.07 USD/kWh", high=1e6)]

Name: TypeAlias = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,63}$")]
"""Key of a map that a user fills. No dots, since they part the keys of a path."""
