"""The model's own error of a scenario: bands of its metrics, and of which class they are.

Three intervals are kept apart: between replications (`ci_low`, `ci_high`), from the bands of
facts (`low`, `high` of each), and this one (`model_low`, `model_high`): where 80 % of what was
measured lay, of what was predicted (`catalog.residuals`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from factorysim.catalog.residuals import Band, ModelError, Quantity, model_error

if TYPE_CHECKING:
    from collections.abc import Iterator

    from factorysim.metrics.summary import Line, Summary
    from factorysim.run.prepare import Prepared

NEAR_CAPACITY = 0.8
"""Saturation from which waits are those of a system at its limit."""
_OF = {
    "ttft_s.": "ttft",
    "tpot_s.": "tpot",
    "itl_s.": "tpot",
    "tokens.output_per_s": "throughput",
    "power.it_w.mean": "wall_power",
    "energy.j_per_output_token.accelerator": "energy",
}
"""Metrics of a run, or how their names begin, and the quantity whose residuals bound them."""
_TOLD: dict[Quantity, str] = {"tpot": "TPOT", "throughput": "throughput"}


class ModelErrors(NamedTuple):
    """What is known of the error of all that serves in a scenario."""

    parts: tuple[tuple[str, ModelError], ...]
    """Device, with its LLM where there are several, and what is known; each kind once."""
    given: tuple[str, ...]
    """Deployments whose step times the scenario gives: they are not predicted."""
    never_compared: tuple[str, ...]
    """What the scenario does that no compared row did."""

    @property
    def reason(self) -> str:
        """Why there is no band; blank where there is."""
        if self.given:
            return f"the scenario gives the step times of {', '.join(self.given)}: no prediction"
        told = [f"{device}: {error.reason}" for device, error in self.parts if error.reason]
        return "; ".join(dict.fromkeys(told))

    @property
    def title(self) -> str:
        """Class in words, of each device if they differ."""
        titles = {device: error.title for device, error in self.parts}
        if len(set(titles.values())) == 1:
            return next(iter(titles.values()))
        return ", ".join(f"{device}: {title}" for device, title in titles.items())

    def band(self, quantity: Quantity, load: str) -> Band | None:
        """Widest band of all parts; None if one has none."""
        if self.reason:
            return None
        bands = [error.band(quantity, load) for _, error in self.parts]
        known = [one for one in bands if one is not None]
        if not known or len(known) < len(bands):
            return None
        widest = max(known, key=lambda one: one.high / one.low)
        return widest._replace(
            low=min(one.low for one in known), high=max(one.high for one in known)
        )

    def told(self) -> str:
        """Sum up in a sentence."""
        if self.reason:
            return f"withheld: {self.reason}"
        shares = [
            f"{one.low:.2f}..{one.high:.2f} of the predicted {text}"
            for quantity, text in _TOLD.items()
            if (one := self.band(quantity, "closed")) is not None
        ]
        bands = f"80 % measured {', '.join(shares)}" if shares else "too few rows for a band"
        never = "".join(f"; no compared row had {one}" for one in self.never_compared)
        return f"{self.title}: {bands}{never}"


def model_errors(prepared: Prepared) -> ModelErrors:
    """Find what is known of the error of a scenario's predictions."""
    scenario, catalog = prepared.scenario, prepared.catalog
    engine = scenario.serving.engine
    parts: dict[tuple[str, str], ModelError] = {}
    given: list[str] = []
    for serve in prepared.plan.serve:
        if scenario.deployments[serve.name].law.kind != "roofline":
            given.append(serve.name)
            continue
        llm = catalog.llm(scenario.llms[serve.llm].llm)
        devices = [serve.device] + ([serve.partner.device] if serve.partner is not None else [])
        for device in devices:
            parts[device.id, llm.id] = model_error(catalog, device, engine, llm)
    several = len({llm for _, llm in parts}) > 1
    named = tuple(
        (f"{llm} on {device}" if several else device, error)
        for (device, llm), error in parts.items()
    )
    return ModelErrors(named, tuple(given), tuple(_never_compared(prepared)))


def _never_compared(prepared: Prepared) -> Iterator[str]:
    serving = prepared.plan.serve
    if any(serve.role == "prefill" for serve in serving):
        yield "prompts and outputs on pools of their own"
    if any(serve.partner is not None for serve in serving):
        yield "a deployment split over two kinds of devices"
    deployments = prepared.scenario.deployments.values()
    if any(one.speculation is not None and one.speculation.draft_tokens for one in deployments):
        yield "speculation"


def with_model_errors(
    summary: Summary, prepared: Prepared, errors: ModelErrors, *, overloaded: bool
) -> Summary:
    """Add to a summary's lines the bounds of the model's own error, where they are known.

    Parameters
    ----------
    overloaded
        More arrives than is served: then the factory sets the pace, not the arrivals.
    """
    load = _load_of(summary, prepared, overloaded)
    return {name: _bounded(name, line, errors, load) for name, line in summary.items()}


def _load_of(summary: Summary, prepared: Prepared, overloaded: bool) -> str:
    """Kind of load whose rows the run is like; `open`: below its limit, under arrivals."""
    streams = prepared.scenario.streams.values()
    if all(one.arrivals.process == "fixed_concurrency" for one in streams):
        return "closed"
    if overloaded:
        return "queued"
    line = summary.get("saturation")
    full = line.value if line is not None else None
    return "offered" if isinstance(full, float) and full >= NEAR_CAPACITY else "open"


def _bounded(name: str, line: Line, errors: ModelErrors, load: str) -> Line:
    quantity: Any = next((q for head, q in _OF.items() if name.startswith(head)), None)
    if quantity is None or not isinstance(line.value, float):
        return line
    if quantity == "throughput" and load in ("open", "offered"):
        return line  # as many tokens as arrivals ask for
    band = errors.band(quantity, "closed" if load == "open" else load)
    if band is None:
        return line
    low, high = band.around(line.value)
    return line._replace(model_low=low, model_high=high)


def as_json(errors: ModelErrors) -> dict[str, Any]:
    """Give what is known as what JSON holds."""
    return {
        "class": errors.title,
        "reason": errors.reason or None,
        "never_compared": list(errors.never_compared),
        "text": errors.told(),
    }
