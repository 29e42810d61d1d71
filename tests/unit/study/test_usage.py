"""LPUs that read KV from the DRAM behind them: what binds their steps, and what share they use."""

import numpy as np
import pytest

from factorysim.metrics.inputs import Window
from factorysim.run.prepare import prepare
from factorysim.spec.scenario import ScenarioSpec
from factorysim.study.predict import predict
from factorysim.study.usage import usage

WINDOW = Window(0.0, 10.0)
ASK = {"isl": 8000, "osl": 40, "calls": 4, "tp": 8, "precision": "fp8"}
DRAM = "deployments.serve.sram.kv=dram"


def plan(**sram):
    precision = {"weights": "fp8", "compute": "fp8", "kv": "fp8"}
    spec = ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "What do LPUs wait for?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"lpx": {"rack": "groq3_lpx"}},
                "fabric": {"kind": "none"},
            },
            "llms": {"chat": {"llm": "llama_3_1_8b", "precision": precision}},
            "deployments": {
                "serve": {
                    "llm": "chat", "pool": "lpx", "replicas": 1, "parallel": {"tp": 8}, "sram": sram
                }
            },
            "streams": {
                "all": {
                    "llm": "chat",
                    "calls": {"prompt_tokens": {"mean": 10}, "output_tokens": {"mean": 10}},
                    "arrivals": {"process": "poisson", "rate": "1/s"},
                }
            },
            "serving": {"max_sequences": 32},
        }
    )  # fmt: skip
    return prepare(spec).plan.serve[0]


def rows(serve, decodes, context):
    """One step of so many decodes, as long as the law says."""
    law = serve.law
    step_fs = law.base(decodes, 0, 0, decodes) + law.piece(decodes, context).slope_fs * context
    row = {
        "started_s": 1.0, "finished_s": 1.0 + step_fs / 1e15, "steps": 1, "decodes": decodes,
        "prompts": 0, "prompt_tokens": 0, "emitted_tokens": decodes, "accepted_tokens": 0,
        "context_tokens": context, "window_tokens": 0, "pair_tokens": 0, "prior_tokens": 0,
        "active_j": 0.0,
    }  # fmt: skip
    return {name: np.array([value]) for name, value in row.items()}


def test_dram_is_read_for_kv_and_sram_for_the_rest():
    """All that more context moves, by the law's own account, comes from DRAM."""
    serve = plan(kv="dram")
    short, long = rows(serve, 4, 4_000), rows(serve, 4, 400_000)
    few, many = (usage(one, serve, WINDOW, in_dram=True).reads for one in (short, long))
    kv_token = 2 * 32 * 8 * 128  # keys and values of 32 layers, 8 heads of 128, a byte each
    assert many.dram_bytes - few.dram_bytes == pytest.approx(396_000 * kv_token, rel=1e-6)
    assert many.sram_bytes == pytest.approx(few.sram_bytes, rel=1e-6)
    assert many.dram_s / few.dram_s == pytest.approx(many.dram_bytes / few.dram_bytes, rel=1e-6)
    assert (few.memory, many.memory) == ("dram", "dram")
    assert usage(rows(serve, 4, 4), serve, WINDOW, in_dram=True).reads.memory == "sram"
    assert usage(long, serve, WINDOW).reads is None


@pytest.mark.parametrize("decodes", [1, 2, 3, 64])
def test_what_binds_a_stage_binds_those_that_wait_for_it(decodes):
    """A single micro-batch reads its KV in one stage after the other: that is no overhead."""
    serve = plan(kv="dram")
    assert serve.law.stages == 3
    bound = usage(rows(serve, decodes, decodes * 20_000), serve, WINDOW, in_dram=True).bound
    assert bound.word == "memory"
    assert bound.memory > 0.85
    assert sum(bound) == pytest.approx(1, abs=1e-9)


def test_a_point_names_the_memory_and_its_share():
    """One call reads three stages in turn: a third of what all of their DRAM could give."""
    point = predict("llama_3_1_8b", "groq3_lpu", concurrency=1, overrides=(DRAM,), **ASK)
    assert (point.bound.word, point.memory) == ("memory", "dram")
    assert 0.2 < point.mbu < 1 / 3
    assert point.pools[0].mbu == point.mbu
    point = predict("llama_3_1_8b", "groq3_lpu", concurrency=1, **ASK)
    assert (point.memory, point.pools[0].memory) == (None, None)
