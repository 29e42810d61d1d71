"""The table of docs/attention.md says what the program computes, for every LLM of the catalog."""

from pathlib import Path

from factorysim.catalog import load_catalog
from factorysim.errors import CapacityError
from factorysim.physics.memory import kv_bytes_per_token, sequence_bytes
from factorysim.physics.shape import llm_shape
from factorysim.spec.layout import ParallelSpec
from factorysim.spec.llm import PrecisionSpec

PAGE = Path(__file__).parents[3] / "docs" / "attention.md"
CATALOG = load_catalog()


def rows():
    """Lines of the table; run this file with `python` to print them."""
    forms, alone = PrecisionSpec(), ParallelSpec()
    for name in CATALOG.ids("llms"):
        try:
            llm = CATALOG.llm(name)
        except CapacityError as error:
            lacks = ", ".join(f"`{fault.key.split('.', 2)[2]}`" for fault in error.faults[:4])
            yield f"| {name} | unknown: {lacks}.. | - | - | - | - | - |"
            continue
        shape = llm_shape(llm)
        known = CATALOG.facts[f"llms.{name}.active_params"].value
        active = (
            f"{shape.active_params / 1e9:,.2f} ({'-' if known is None else f'{known / 1e9:g}'})"
        )
        held = sequence_bytes(llm, forms, alone) / 1e6
        yield (
            f"| {name} | {kind(llm)} | {kv_bytes_per_token(llm, forms, alone):,.0f}"
            f" | {f'{held:,.1f}' if held else '-'}"
            f" | {shape.total_params / 1e9:,.2f} ({llm.total_params / 1e9:g})"
            f" | {shape.total_params / llm.total_params - 1:+.1%} | {active} |"
        )


def kind(llm):
    """What its layers attend to, in a few words."""
    if llm.attention == "compressed_sparse_mqa":
        few, many = llm.layers_ratio_4, llm.layers_ratio_128
        return f"{few} x 1:4, top {llm.topk:,}; {many} x 1:128; last {llm.window} in all"
    if llm.topk:
        return f"MLA, top {llm.topk:,} by {llm.indexer_layers} indexers"
    if llm.window_layers:
        return f"GQA; window {llm.window:,} in {llm.window_layers} of {llm.layers}"
    words = {
        "gqa": "MHA" if llm.kv_heads == llm.heads else "GQA",
        "mla": "MLA",
        "hybrid_mamba2_gqa": f"{llm.mamba_layers} Mamba-2, {llm.kv_layers} GQA",
        "hybrid_kda_mla": f"{llm.linear_attention_layers} KDA, {llm.kv_layers} MLA",
    }
    return words[llm.attention]


def test_the_page_has_the_row_of_every_llm():
    page = PAGE.read_text(encoding="utf-8").splitlines()
    missing = [row for row in rows() if row not in page]
    assert not missing
    assert sum(line.startswith("| ") for line in page if line.count("|") == 8) >= len(
        CATALOG.ids("llms")
    )


if __name__ == "__main__":
    print("\n".join(rows()))  # noqa: T201
