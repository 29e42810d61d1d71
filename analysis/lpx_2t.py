"""Sweep the experts of the 2T LLM: which unpublished number decides what LPX racks buy.

Five guesses at its experts, all of two trillion parameters, through the four
scenarios `lpx-splits-2t*`: the table of docs/lpx.md. `python analysis/lpx_2t.py`
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from factorysim.catalog import load_catalog
from factorysim.load import load_scenario
from factorysim.resources import resource_path
from factorysim.run import simulate

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

SHAPES = ("32x1", "128x4", "512x16", "128x2", "128x16")
"""Experts of a layer x those that a token chooses: `CATALOGS/gpt-2t-*.yaml`."""
SPLITS = {
    "alone": "lpx-splits-2t",
    "afd": "lpx-splits-2t-afd",
    "decode": "lpx-splits-2t-decode",
    "draft": "lpx-splits-2t-draft",
}
CATALOGS = resource_path("scenarios", "lpx-splits-2t").parent / "catalogs"
REPLICATIONS = 2
LLM = "gpt_moe_2t_nvidia"


class Point(NamedTuple):
    """One shape in one split."""

    shape: str
    split: str
    active_params: float
    tokens_per_s: float
    """Of one user: 1 / median TPOT."""
    ttft_s: float
    it_w: float


def point(shape: str, split: str, overrides: Sequence[str] = ()) -> Point:
    """Simulate one shape in one split.

    Raises
    ------
    RuntimeError
        If calls were refused: then the median is of the others alone.
    """
    catalog = CATALOGS / f"gpt-2t-{shape}.yaml"
    given = [f"catalog={catalog}", f"run.replications={REPLICATIONS}", *overrides]
    run = simulate(load_scenario(SPLITS[split], overrides=given).scenario)
    values = {name: line.value for name, line in run.summary.items()}
    if values["calls.rejected"]:
        raise RuntimeError(f"{shape}, {split}: {values['calls.rejected']:.0f} calls were rejected")
    llm = load_catalog(catalog).llm(LLM)
    tpot_s, ttft_s, it_w = (
        float(values[name] or "nan") for name in ("tpot_s.p50", "ttft_s.mean", "power.it_w.mean")
    )
    return Point(shape, split, llm.active_params, 1.0 / tpot_s, ttft_s, it_w)


def sweep(
    shapes: Iterable[str] = SHAPES,
    splits: Iterable[str] = tuple(SPLITS),
    overrides: Sequence[str] = (),
) -> list[Point]:
    """Simulate every shape in every split."""
    splits = list(splits)
    return [point(shape, split, overrides) for shape in shapes for split in splits]


def table(points: Sequence[Point]) -> str:
    """Lay points out as Markdown, a shape a row; gains against GPUs alone."""
    splits = list(dict.fromkeys(one.split for one in points))
    lines = [
        f"| experts x chosen | active, 1e9 | {' | '.join(splits)} |",
        "|---" * (2 + len(splits)) + "|",
    ]
    for shape in dict.fromkeys(one.shape for one in points):
        row = {one.split: one for one in points if one.shape == shape}
        alone = row["alone"].tokens_per_s
        cells = [
            f"{one.tokens_per_s:,.0f} ({one.tokens_per_s / alone:.2g} x), {one.ttft_s:.2f} s, "
            f"{one.it_w / 1e6:.3f} MW"
            for one in row.values()
        ]
        active = row["alone"].active_params / 1e9
        lines.append(f"| {shape} | {active:.0f} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print("Tokens/s of a user (against GPUs alone), mean TTFT, IT power:\n")
    print(table(sweep()))
