"""The base of every spec and the types of quantities."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, PlainSerializer

from factorysim.units import example, format_quantity, parse_quantity

if TYPE_CHECKING:
    from factorysim.units import Dimension


class Spec(BaseModel):
    """What a user writes: frozen, and without unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False
    )


def _read(dimension: Dimension, value: object) -> float:
    """Turn ``"80 GB"`` into 8e10; a bare number only where there is no unit."""
    if isinstance(value, str):
        return parse_quantity(value, dimension)
    bare = dimension in ("ratio", "count")
    if bare and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)
    raise ValueError(f"a quantity such as {example(dimension)!r}")


def _not_negative(value: float) -> float:
    if value < 0:
        raise ValueError("a quantity that is not negative")
    return value


def _positive(value: float) -> float:
    if value <= 0:
        raise ValueError("a quantity above zero")
    return value


def _quantity(dimension: Dimension) -> tuple[BeforeValidator, PlainSerializer]:
    return (
        BeforeValidator(partial(_read, dimension)),
        PlainSerializer(partial(format_quantity, dimension=dimension), return_type=str),
    )


Bytes = Annotated[float, AfterValidator(_not_negative), *_quantity("bytes")]
BytesPerSecond = Annotated[float, AfterValidator(_positive), *_quantity("bytes_per_s")]
FlopPerSecond = Annotated[float, AfterValidator(_positive), *_quantity("flop_per_s")]
Seconds = Annotated[float, AfterValidator(_not_negative), *_quantity("seconds")]
PositiveSeconds = Annotated[float, AfterValidator(_positive), *_quantity("seconds")]
Watts = Annotated[float, AfterValidator(_not_negative), *_quantity("watts")]
PerSecond = Annotated[float, AfterValidator(_positive), *_quantity("per_s")]
Ratio = Annotated[float, AfterValidator(_not_negative), *_quantity("ratio")]
GramsPerKwh = Annotated[float, AfterValidator(_not_negative), *_quantity("g_per_kwh")]
MoneyPerKwh = Annotated[float, AfterValidator(_not_negative), *_quantity("money_per_kwh")]
