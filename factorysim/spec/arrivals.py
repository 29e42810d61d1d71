"""When the sessions of a stream arrive."""

from __future__ import annotations

from typing import Annotated, Literal, Self, TypeAlias

from pydantic import Discriminator, Field, Tag, model_validator

from factorysim.spec.base import Name, PerSecond, PositiveSeconds, Quantity, Seconds, Spec, refuse

HOURS, DAYS = 24, 7
CLIENTS_MOST = 100_000
CV_MOST = 20.0
Family = Literal["gamma", "weibull"]

RateOrNone = Annotated[float, Quantity("per_s", "a rate", "2/s", high=1e12)]
"""0 is none at all."""


def _kind(value: object) -> str:
    """Tell a name or a quantity from a spec written in place."""
    return "inline" if isinstance(value, dict | Spec) else "plain"


class ProfileSpec(Spec):
    """How busy the hours are: multiples of each other, scaled to a mean of 1."""

    hours: list[float] = Field(min_length=HOURS, max_length=HOURS)
    """Of a day, from midnight on."""
    days: list[float] = Field(default=[1.0] * DAYS, min_length=DAYS, max_length=DAYS)
    """Of a week, from Monday on; each multiplies the hours of its day."""
    between: Literal["steps", "linear"] = "steps"
    """Constant over an hour, or straight from the middle of one to that of the next."""

    @model_validator(mode="after")
    def _some_hour_is_busy(self) -> Self:
        for key in ("hours", "days"):
            levels: list[float] = getattr(self, key)
            for place, level in enumerate(levels):
                if not 0.0 <= level <= 1e6:
                    raise refuse(f"{key}.{place}", f"{level:g}", "a multiple from 0 to 1e6")
            if not any(levels):
                raise refuse(key, "0 throughout", "some level above 0")
        return self


class SpikeSpec(Spec):
    """A time during which the rate is multiplied."""

    at: Seconds
    """When it begins, after the start of the run."""
    length: PositiveSeconds
    times: float = Field(ge=0.0, le=1e4)
    """On what the rate would be; those of spikes that overlap multiply."""


class _Modulated(Spec):
    """What may change a rate in the course of time."""

    profile: (
        Annotated[
            Annotated[Literal["servegen_m_large"], Tag("plain")]
            | Annotated[ProfileSpec, Tag("inline")],
            Discriminator(_kind),
        ]
        | None
    ) = None
    """Of the week, around the mean rate: a shipped one, or one written here."""
    start: Seconds = 0.0
    """Where in the week the run begins: 0 is Monday at midnight."""
    spikes: dict[Name, SpikeSpec] = Field(default_factory=dict)
    """By names of your own."""

    @model_validator(mode="after")
    def _start_is_of_a_profile(self) -> Self:
        if self.start and self.profile is None:
            expected = "nothing, since without a profile all times of the week are alike"
            raise refuse("start", f"{self.start:g} s", expected, "remove it, or give a profile")
        return self

    @property
    def varies(self) -> bool:
        """Whether the mean rate changes in the course of time."""
        return self.profile is not None or bool(self.spikes)


class PoissonArrivals(_Modulated):
    """Independent sessions at a mean rate."""

    process: Literal["poisson"]
    rate: PerSecond

    def scaled(self, factor: float) -> Self:
        """Give the same process at a multiple of its rate."""
        return self.model_copy(update={"rate": self.rate * factor})


class GammaArrivals(_Modulated):
    """A gamma renewal process: `cv` above 1 is burstier than Poisson."""

    process: Literal["gamma"]
    rate: PerSecond
    cv: float = Field(default=2.0, ge=0.01, le=CV_MOST)

    def scaled(self, factor: float) -> Self:
        """Give the same process at a multiple of its rate."""
        return self.model_copy(update={"rate": self.rate * factor})


class WeibullArrivals(_Modulated):
    """A Weibull renewal process: its gaps have a longer tail than gamma's of the same `cv`."""

    process: Literal["weibull"]
    rate: PerSecond
    cv: float | None = Field(default=None, ge=0.01, le=CV_MOST)
    """Of the gaps; 2 where neither it nor `shape` is given."""
    shape: float | None = Field(default=None, ge=0.15, le=150.0)
    """Of the gaps, instead of `cv`: below 1 they are burstier than Poisson's."""

    @model_validator(mode="after")
    def _one_shape(self) -> Self:
        if self.cv is not None and self.shape is not None:
            raise refuse("shape", f"{self.shape:g} beside a cv", "one of the two", "remove one")
        return self

    def scaled(self, factor: float) -> Self:
        """Give the same process at a multiple of its rate."""
        return self.model_copy(update={"rate": self.rate * factor})


class StateSpec(Spec):
    """A state of a Markov-modulated process."""

    rate: RateOrNone
    sojourn: PositiveSeconds
    """On average; its law is exponential."""
    to: dict[Name, float] = Field(default_factory=dict)
    """Where it goes next: weights by state. Not given: to any other, all alike."""


class MmppArrivals(_Modulated):
    """A Markov-modulated Poisson process: a rate for as long as a hidden state lasts."""

    process: Literal["mmpp"]
    states: dict[Name, StateSpec] = Field(min_length=2, max_length=64)

    @model_validator(mode="after")
    def _states_lead_to_each_other(self) -> Self:
        for name, state in self.states.items():
            for other, weight in state.to.items():
                if other not in self.states or other == name:
                    expected = f"another state: {', '.join(s for s in self.states if s != name)}"
                    raise refuse(f"states.{name}.to.{other}", repr(other), expected)
                if not 0.0 <= weight <= 1e6:
                    raise refuse(f"states.{name}.to.{other}", f"{weight:g}", "from 0 to 1e6")
            if state.to and not any(state.to.values()):
                raise refuse(f"states.{name}.to", "no way out", "a weight above 0")
        first = next(iter(self.states))
        for name in self.states:
            if name not in self._reached(first) or first not in self._reached(name):
                expected = f"a way from it to {first} and back, or it has no share of the time"
                raise refuse(f"states.{name}", "a state apart", expected, "give `to` a weight")
        if not any(state.rate for state in self.states.values()):
            raise refuse("states", "a rate of 0 in all", "a rate above 0 in one of them")
        return self

    def ways(self, name: str) -> dict[str, float]:
        """Weights of the states that follow one."""
        given = self.states[name].to
        return given or {other: 1.0 for other in self.states if other != name}

    def _reached(self, name: str) -> set[str]:
        seen, new = {name}, [name]
        while new:
            ways = self.ways(new.pop())
            new += (found := [other for other, w in ways.items() if w and other not in seen])
            seen.update(found)
        return seen

    @property
    def time_shares(self) -> dict[str, float]:
        """Share of the time that each state has in the long run."""
        import numpy as np

        names = list(self.states)
        jumps = np.zeros((len(names), len(names)))
        for row, name in enumerate(names):
            ways = self.ways(name)
            for other, weight in ways.items():
                jumps[row, names.index(other)] = weight / sum(ways.values())
        # Visits v = v P with sum 1, one equation replaced by the sum.
        system = jumps.T - np.eye(len(names))
        system[-1] = 1.0
        visits = np.linalg.solve(system, np.eye(len(names))[-1])
        spent = visits * [self.states[name].sojourn for name in names]
        return dict(zip(names, (spent / spent.sum()).tolist(), strict=True))

    @property
    def rate(self) -> float:
        """On average, over the time."""
        return sum(share * self.states[name].rate for name, share in self.time_shares.items())

    def scaled(self, factor: float) -> Self:
        """Give multiples of the rates; the states last as long as they did."""
        states = {
            name: state.model_copy(update={"rate": state.rate * factor})
            for name, state in self.states.items()
        }
        return self.model_copy(update={"states": states})


class PopulationArrivals(_Modulated):
    """Clients of which a few send most: a renewal process each, by shares after Zipf."""

    process: Literal["population"]
    rate: PerSecond
    """Of all clients together."""
    clients: int = Field(ge=1, le=CLIENTS_MOST)
    skew: float = Field(default=1.0, ge=0.0, le=5.0)
    """The c-th client sends as c to the power of minus this; 0: all send the same."""
    family: Family = "gamma"
    """Of the gaps of one client."""
    cv: float = Field(default=2.0, ge=0.01, le=CV_MOST)

    def scaled(self, factor: float) -> Self:
        """Give the same clients at multiples of their rates."""
        return self.model_copy(update={"rate": self.rate * factor})


class FittedArrivals(Spec):
    """A renewal process like the arrivals that the stream's trace recorded.

    The rate is the trace's; family and `cv` are those under which its gaps are most
    likely. A run fills in what is not given, and writes it down.
    """

    process: Literal["fitted"]
    family: Family | None = None
    rate: PerSecond | None = None
    cv: float | None = Field(default=None, ge=0.01, le=CV_MOST)

    def scaled(self, factor: float) -> Self:
        """Give the same process at a multiple of its rate, which must have been found."""
        assert self.rate is not None, "fitted before anything is scaled"
        return self.model_copy(update={"rate": self.rate * factor})


class TraceArrivals(Spec):
    """The times that a trace recorded."""

    process: Literal["trace"] = "trace"


class ThinkSpec(Spec):
    """A pause that differs from session to session."""

    kind: Literal["exponential", "lognormal", "uniform"]
    mean: PositiveSeconds
    cv: float | None = Field(default=None, ge=0.01, le=CV_MOST)
    """Of `lognormal`, where it is 1 if not given, and of `uniform` (0.5, at most 0.577)."""

    @model_validator(mode="after")
    def _cv_is_possible(self) -> Self:
        if self.cv is not None and self.kind == "exponential":
            raise refuse("cv", f"{self.cv:g}", "none: an exponential's is 1", "remove it")
        if self.cv is not None and self.kind == "uniform" and self.cv > 0.577:
            raise refuse("cv", f"{self.cv:g}", "at most 0.577: a pause is not below 0")
        return self


class FixedConcurrency(Spec):
    """So many sessions at any time: the next starts when one ends."""

    process: Literal["fixed_concurrency"]
    concurrency: int = Field(ge=1, le=10_000_000)
    think: Annotated[
        Annotated[Seconds, Tag("plain")] | Annotated[ThinkSpec, Tag("inline")],
        Discriminator(_kind),
    ] = 0.0
    """Pause before the next session starts: a time, or a law that it is drawn from."""

    @property
    def think_s(self) -> float:
        """Of the pause, the mean."""
        return self.think.mean if isinstance(self.think, ThinkSpec) else self.think

    def scaled(self, factor: float) -> Self:
        """Give a multiple of the sessions, at least one."""
        return self.model_copy(update={"concurrency": max(1, round(self.concurrency * factor))})


RatedArrivals: TypeAlias = (
    PoissonArrivals | GammaArrivals | WeibullArrivals | MmppArrivals | PopulationArrivals
)
"""Processes with a rate of their own."""

Arrivals = Annotated[
    PoissonArrivals
    | GammaArrivals
    | WeibullArrivals
    | MmppArrivals
    | PopulationArrivals
    | FittedArrivals
    | TraceArrivals
    | FixedConcurrency,
    Field(discriminator="process"),
]
