"""Site files: where a factory stands, and what power costs there."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field, field_serializer, model_validator

from factorysim.spec.base import GramsPerKwh, MoneyPerKwh, Spec, refuse


class SiteSpec(Spec):
    """Where the factory stands."""

    schema_: Literal["factorysim.site/1"] = Field(default="factorysim.site/1", alias="schema")
    energy_price: MoneyPerKwh | None = None
    carbon_intensity: GramsPerKwh | None = None
    pue: float = Field(default=1.10, ge=1.0, le=5.0)
    currency: Literal["USD", "EUR"] = "USD"
    """Of `energy_price`; follows from its unit."""

    @model_validator(mode="before")
    @classmethod
    def _currency_of_price(cls, data: Any) -> Any:  # noqa: ANN401 - as pydantic hands it over
        price = data.get("energy_price") if isinstance(data, dict) else None
        if not isinstance(price, str) or not price.strip().endswith("EUR/kWh"):
            return data
        if data.get("currency", "EUR") != "EUR":
            raise refuse("currency", repr(data["currency"]), "that of energy_price, 'EUR'")
        return {**data, "currency": "EUR"}

    @field_serializer("energy_price")
    def _price_with_currency(self, price: float | None) -> str | None:
        return None if price is None else f"{price!r} {self.currency}/kWh"
