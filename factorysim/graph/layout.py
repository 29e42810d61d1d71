"""Which deployments may have ranks or stages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import Fault, SpecError

if TYPE_CHECKING:
    from factorysim.spec.scenario import ScenarioSpec
    from factorysim.spec.serving import ServingSpec


def check_layouts(scenario: ScenarioSpec) -> None:
    """Refuse ranks and stages where something else asks for one plain replica.

    Raises
    ------
    SpecError
        With every fault.
    """
    faults: list[Fault] = []
    serving = scenario.serving
    exact = scenario.serving.router.index == "exact"
    for name, spec in scenario.deployments.items():
        widths = {"pp": spec.parallel.pp, "dp": spec.parallel.dp}
        for key, width in widths.items():
            if width == 1:
                continue
            where = f"deployments.{name}.parallel.{key}"
            if spec.role == "tools":
                faults.append(Fault("scenario", where, f"{width}", "none: tools run on hosts"))
            elif spec.role != "serve":
                expected = f"1, since the role is {spec.role}: ranks and stages do both parts"
                cure = f"remove {key}, or give it the role serve"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
            elif spec.expert_skew:
                expected = "1, since experts are skewed, which ranks and stages do not know of"
                cure = f"remove {key}, or `expert_skew`"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
            elif spec.split is not None or spec.sram is not None:
                expected = f"1, since {name} lies on LPUs, or is split"
                faults.append(Fault("scenario", where, f"{width}", expected, f"remove {key}"))
            elif spec.speculation is not None:
                expected = f"1, since {name} speculates"
                cure = f"remove {key}, or `speculation`"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
            elif spec.law.kind != "roofline":
                expected = f"1, since the law is {spec.law.kind}, of a whole replica"
                cure = f"remove {key}, or take the law roofline, which can cut an LLM"
                faults.append(Fault("scenario", where, f"{width}", expected, cure))
        if max(widths.values()) > 1 and spec.role == "serve":
            faults += _plain_only(name, serving)
        if widths["dp"] > 1 and exact and spec.role == "serve":
            where = "serving.router.index"
            expected = f"approximate, since each replica of {name} has {widths['dp']} caches"
            faults.append(Fault("scenario", where, "exact", expected, "or `dp: 1`"))
    if faults:
        raise SpecError(*faults)


def _plain_only(name: str, serving: ServingSpec) -> list[Fault]:
    """Tell what ranks and stages do not know of serving."""
    faults: list[Fault] = []
    if serving.scheduler not in ("vllm", "prefill_first") or serving.prefill_every is not None:
        key = "scheduler" if serving.prefill_every is None else "prefill_every"
        found = str(getattr(serving, key))
        expected = f"vllm or prefill_first without a cadence, since {name} has ranks or stages"
        faults.append(
            Fault(
                "scenario",
                f"serving.{key}",
                found,
                expected,
                "take `dp: 1` and `pp: 1`, or another",
            )
        )
    if len(serving.kv.tiers) > 1:
        expected = f"hbm alone, since {name} has ranks or stages"
        found = ", ".join(serving.kv.tiers)
        faults.append(
            Fault(
                "scenario",
                "serving.kv.tiers",
                found,
                expected,
                "take `dp: 1` and `pp: 1`, or another",
            )
        )
    return faults
