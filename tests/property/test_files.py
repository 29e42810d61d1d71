"""What must hold of any file: it loads or is refused in words, and what loads reloads."""

import contextlib
import string

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorysim.errors import SpecError
from factorysim.load import dump_scenario, load
from factorysim.spec.base import Spec
from factorysim.spec.faults import read_spec
from factorysim.spec.scenario import ScenarioSpec
from factorysim.yaml_reader import parse_yaml

TEXT = """\
schema: factorysim.scenario/1
question: Does it load?
topology: teaching/mm1
llms: {small: {llm: llama_3_1_8b}}
deployments: {serve: {llm: small, pool: gpu, parallel: {tp: 2, ep: 1}}}
streams:
  desk: {llm: small, agent: chat, arrivals: {process: gamma, rate: 2/s, cv: 2.0}, slo: {ttft: 1 s}}
serving: {token_budget: 4096, router: {snapshot: 100 ms}, kv: {workspace: 3 GB}}
run: {window: 10 min, warmup: auto, seed: 7}
"""

NAMES = st.text(string.ascii_letters + string.digits, min_size=1, max_size=8)
POSITIVE = st.floats(1e-9, 1e9).map(lambda value: f"{value!r} s")
RATE = st.floats(1e-9, 1e9).map(lambda value: f"{value!r} /s")
WORDS = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
ARRIVALS = st.one_of(
    st.fixed_dictionaries({"process": st.just("poisson"), "rate": RATE}),
    st.fixed_dictionaries({"process": st.just("gamma"), "rate": RATE, "cv": st.floats(0.1, 20)}),
    st.fixed_dictionaries(
        {
            "process": st.just("fixed_concurrency"),
            "concurrency": st.integers(1, 10**6),
            "think": POSITIVE,
        }
    ),
)
LENGTHS = st.fixed_dictionaries({"mean": st.floats(1, 1e6)})
STREAMS = st.fixed_dictionaries(
    {
        "llm": NAMES,
        "calls": st.fixed_dictionaries({"prompt_tokens": LENGTHS, "output_tokens": LENGTHS}),
        "arrivals": ARRIVALS,
        "priority": st.integers(-1000, 1000),
    },
    optional={"slo": st.fixed_dictionaries({"ttft": POSITIVE, "attain": st.floats(0, 1)})},
)
SCENARIOS = st.fixed_dictionaries(
    {
        "question": WORDS,
        "topology": st.fixed_dictionaries(
            {
                "racks": st.dictionaries(
                    NAMES, st.fixed_dictionaries({"rack": WORDS, "count": st.integers(1, 99)})
                )
            }
        ),
        "llms": st.dictionaries(NAMES, st.fixed_dictionaries({"llm": WORDS})),
        "deployments": st.dictionaries(
            NAMES, st.fixed_dictionaries({"pool": WORDS, "llm": NAMES}), min_size=1, max_size=3
        ),
        "streams": st.dictionaries(NAMES, STREAMS, min_size=1, max_size=3),
        "site": st.fixed_dictionaries(
            {"energy_price": st.floats(0, 9).map(lambda price: f"{price!r} EUR/kWh")}
        ),
        "run": st.fixed_dictionaries({"window": POSITIVE, "seed": st.integers(0, 2**63 - 1)}),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SCENARIOS)
def test_every_spec_reads_back_from_its_canonical_text(data):
    spec = ScenarioSpec.model_validate(data)
    again = read_spec(ScenarioSpec, parse_yaml(dump_scenario(spec), "dump"))
    assert again == spec
    assert dump_scenario(again) == dump_scenario(spec)


def read(data: bytes) -> Spec | None:
    try:
        return read_spec(ScenarioSpec, parse_yaml(data, "f.yaml"))
    except SpecError as error:
        faults = error.faults
    assert faults
    assert all(fault.where.startswith("f.yaml") for fault in faults)
    return None


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_garbage_is_refused_in_words(data):
    assert read(data) is None


@settings(max_examples=200, deadline=None)
@given(st.text(st.sampled_from("{}[]:,-?&*!|>'\"%@`# \n\tab1.~<="), max_size=60))
def test_what_looks_like_yaml_is_refused_in_words(text):
    assert read(text.encode()) is None


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, len(TEXT) - 1),
    st.integers(0, 12),
    st.text(st.sampled_from("{}[]:,-&*!'\"# \n\t0.e~/abs%\x00\x1b\\U"), max_size=8),
)
def test_a_mutated_file_loads_or_is_refused_in_words(start, length, patch):
    read((TEXT[:start] + patch + TEXT[start + length :]).encode())


@settings(max_examples=40, deadline=None)
@given(
    path=st.sampled_from(["run.seed", "streams.desk", "site", "topology", "llms.small.llm", "x.y"]),
    value=st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)
def test_any_override_is_taken_or_refused_in_words(tmp_path_factory, path, value):
    file = tmp_path_factory.getbasetemp() / "scenario.yaml"
    if not file.exists():
        file.write_text(TEXT)
    with contextlib.suppress(SpecError):
        assert isinstance(load(file, [f"{path}={value}"]), ScenarioSpec)
