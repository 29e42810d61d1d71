"""The command ``predict``: one operating point, through the simulator itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Literal

import typer

from factorysim.cli.runs import Json, print_parts

Precision = Annotated[
    str | None,
    typer.Option(
        metavar="P",
        help="fp8, or weights=w4a16,compute=bf16,kv=fp8; as published and native if not given.",
    ),
]
Draft = Annotated[
    str | None,
    typer.Option(metavar="WHO", help="Speculate: an LLM of the catalog drafts, mtp, or ngram."),
]
DraftTokens = Annotated[int | None, typer.Option(min=0, max=64, help="Drafts before each verify.")]
Acceptance = Annotated[
    float | None,
    typer.Option(
        min=0.0, max=1.0, help="Probability that a draft is accepted if those before it were."
    ),
]
PrefillPool = Annotated[
    str | None,
    typer.Option(
        metavar="NxLAYOUT", help="Replicas that compute prompts: 3xtp4, 2xtp8,ep8@h200_sxm."
    ),
]
DecodePool = Annotated[
    str | None,
    typer.Option(
        metavar="NxLAYOUT", help="Replicas that make tokens: 1xtp8; on LPUs tp8@groq3_lpu."
    ),
]
Split = Annotated[
    str | None,
    typer.Option(
        metavar="KIND=LAYOUT@DEVICE",
        help="FFN and experts, or the draft LLM, on LPUs, as many as hold them: "
        "afd=tp64,ep64@groq3_lpu, draft=tp8@groq3_lpu.",
    ),
]
FirstTokenFrom = Annotated[
    Literal["prefill", "decode"] | None,
    typer.Option(help="Pool that makes the first token; prefill if not given."),
]
Overlap = Annotated[
    Literal["none", "layers"] | None,
    typer.Option(help="Move KV after the prefill, or layer by layer; none if not given."),
]
Calls = Annotated[int | None, typer.Option(min=1, help="To measure; 400 at least if not given.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="K=V", help="Override: --set serving.token_budget=2048."),
]
Facts = Annotated[
    Path | None, typer.Option(help="A file of facts of your own, over the shipped ones.")
]


def register(app: typer.Typer) -> None:
    """Add the command of this module to the program's."""
    app.command("predict")(predict)


def predict(
    llm: Annotated[str, typer.Option(help="An LLM of the catalog.")],
    device: Annotated[str, typer.Option(help="An accelerator or a CPU of the catalog.")],
    isl: Annotated[int, typer.Option(min=1, help="Prompt tokens of each call.")],
    osl: Annotated[int, typer.Option(min=1, help="Output tokens of each call.")],
    concurrency: Annotated[int, typer.Option(min=1, help="Calls at any time.")],
    tp: Annotated[int, typer.Option(min=1, help="Devices that cut a layer.")] = 1,
    ep: Annotated[int, typer.Option(min=1, help="Groups of them with experts of their own.")] = 1,
    pp: Annotated[int, typer.Option(min=1, help="Stages of layers, of tp devices each.")] = 1,
    dp: Annotated[int, typer.Option(min=1, help="Ranks of attention-DP, of tp devices each.")] = 1,
    spread: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Half width of both lengths over their means.")
    ] = 0.0,
    precision: Precision = None,
    draft: Draft = None,
    draft_tokens: DraftTokens = None,
    acceptance: Acceptance = None,
    prefill_pool: PrefillPool = None,
    decode_pool: DecodePool = None,
    split: Split = None,
    first_token_from: FirstTokenFrom = None,
    overlap: Overlap = None,
    calls: Calls = None,
    overrides: Overrides = None,
    catalog: Facts = None,
    as_json: Json = False,
) -> None:
    """Predict one operating point: so many calls at any time, on one replica or on pools."""
    from factorysim.report.point import point_report
    from factorysim.study import predict as study

    point = study.predict(
        llm,
        device,
        isl=isl,
        osl=osl,
        concurrency=concurrency,
        tp=tp,
        ep=ep,
        pp=pp,
        dp=dp,
        spread=spread,
        precision=precision,
        draft=draft,
        draft_tokens=draft_tokens,
        acceptance=acceptance,
        prefill_pool=prefill_pool,
        decode_pool=decode_pool,
        split=split,
        first_token_from=first_token_from,
        overlap=overlap,
        calls=calls,
        overrides=overrides or (),
        catalog=catalog,
    )
    if as_json:
        typer.echo(json.dumps(study.as_json(point), indent=2, allow_nan=False))
    else:
        print_parts(point_report(point))
