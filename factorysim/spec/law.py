"""Where the times of a deployment's steps come from."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from factorysim.spec.base import Seconds, Spec, refuse


class RooflineLaw(Spec):
    """Step times from the data sheet, derated by the catalog's efficiencies."""

    kind: Literal["roofline"] = "roofline"


class Distribution(Spec):
    """A named distribution of times: for teaching, and for users' own tools."""

    kind: Literal["deterministic", "exponential", "lognormal", "gamma", "uniform"]
    mean: Seconds
    cv: float = Field(default=1.0, ge=0.0, le=100.0)
    """Standard deviation over mean. Of `exponential` always 1; unused by
    `deterministic`; `uniform` takes at most 0.577, where it reaches down to 0."""

    @model_validator(mode="after")
    def _uniform_stays_positive(self) -> Self:
        if self.kind == "uniform" and self.cv > 3**-0.5:
            raise refuse("cv", f"{self.cv:g}", "at most 0.577, else a uniform time may be negative")
        if self.kind == "exponential" and self.cv != 1.0:
            raise refuse("cv", f"{self.cv:g}", "none: of an exponential time it is 1", "remove it")
        return self


class FixedLaw(Spec):
    """A step lasts what is written here, whatever is in it."""

    kind: Literal["fixed"]
    prompt: Distribution | None = None
    """Drawn per call, spent in the step that ends its prompt."""
    decode: Seconds = 0.0
    """Of each step with at least one decode."""

    @model_validator(mode="after")
    def _takes_time(self) -> Self:
        if not self.decode and (self.prompt is None or not self.prompt.mean):
            cure = "give `prompt` a mean, or `decode` a time"
            raise refuse("decode", "no time for prompts or decodes", "a time above zero", cure)
        return self


class TableLaw(Spec):
    """Step times from a user's profile, a CSV file."""

    kind: Literal["table"]
    file: str
    """Columns `phase,tokens,context_tokens,step_s`; `physics.table` tells more."""


Law = Annotated[RooflineLaw | FixedLaw | TableLaw, Field(discriminator="kind")]
