"""Images in prompts: who needs an encoder for them, and how long it takes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.errors import CapacityError, Fault, SpecError
from factorysim.physics.vision import encoder_of

if TYPE_CHECKING:
    from factorysim.catalog import Device, Llm
    from factorysim.catalog.values import Vision
    from factorysim.graph.ground import Ground
    from factorysim.physics.vision import Encoder
    from factorysim.spec.deployment import DeploymentSpec


def vision_of(ground: Ground, key: str, llm: Llm) -> Vision | None:
    """Find the encoder that streams with images need; None where none has any.

    Parameters
    ----------
    key
        Of the LLM among the scenario's `llms`.

    Raises
    ------
    CapacityError
        If the LLM has none.
    """
    asking = [
        name
        for name, one in ground.scenario.streams.items()
        if one.images and key in (one.llm, *one.llm_by_step.values())
    ]
    if not asking:
        return None
    if llm.vision is None:
        record = f"llms.{llm.id}.vision"
        cure = f"give `{record}.encoder_params` and `{record}.patches_per_token` in a catalog "
        cure += "file of your own, or send images to another LLM"
        where, expected = f"streams.{asking[0]}", f"an LLM with a vision encoder, not {llm.id}"
        raise CapacityError(Fault(where, "images", "images", expected, cure))
    ground.facts.update(llm.vision.facts)
    return llm.vision


def encoder_beside(
    ground: Ground, spec: DeploymentSpec, llm: Llm, device: Device
) -> Encoder | None:
    """Time a deployment's encoder; None where nobody needs one, or the scenario has its times.

    Raises
    ------
    SpecError
        If the deployment is a pipeline.
    """
    assert spec.llm is not None  # the spec of a deployment that serves
    vision = vision_of(ground, spec.llm, llm)
    if vision is None or spec.law.kind != "roofline":
        return None
    if spec.parallel.pp > 1:
        found, cure = f"{spec.parallel.pp} stages", "take `pp: 1`, and more tp in its place"
        expected = "1: a pipeline has no encoder"
        raise SpecError(Fault("streams with images", "parallel.pp", found, expected, cure))
    compute = ground.scenario.llms[spec.llm].precision.compute
    return encoder_of(vision, device, compute, spec.parallel.tp, ground.efficiency(device))
