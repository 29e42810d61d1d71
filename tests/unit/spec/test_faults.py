import pytest

from factorysim.errors import SpecError
from factorysim.load.dump import dump_spec
from factorysim.spec.faults import read_spec
from factorysim.spec.scenario import ScenarioSpec
from factorysim.yaml_reader import parse_yaml

HEAD = "schema: factorysim.scenario/1\nquestion: q\ntopology: t\n"
GPU = "deployments: {d: {pool: p, llm: a}}\n"
STREAM = "streams: {s: {llm: a, agent: x, arrivals: {process: poisson, rate: 2/s}}}\n"


def faults(text):
    with pytest.raises(SpecError) as caught:
        read_spec(ScenarioSpec, parse_yaml(text, "f.yaml"))
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "where", "key", "found", "expected", "cure"),
    [
        ("run: {windw: 1 s}", 6, "run.windw", "unknown key", "window", '"window"'),
        ("run: {window: 1 sec}", 6, "run.window", "'1 sec'", "a time", "units"),
        ("run:\n  seed: x", 7, "run.seed", "'x'", "whole number", "quotes"),
        ("run: {kind: stedy_state}", 6, "run.kind", "stedy", "terminating", '"steady_state"'),
        ("run: []", 6, "run", "a list of 0", "a map with", ""),
        ("rate: 1", 6, "rate", "unknown key", "streams", ""),
        ("llms: {a.b: {llm: x}}", 6, "llms.'a.b'", "'a.b'", "a name", ""),
        ("llms: {a: {}}", 6, "llms.a.llm", "nothing", "text", "add `llm:`"),
        ("serving: {router: {spill: 2}}", 6, "serving.router.spill", "2", "nothing", "affinity"),
        (
            "serving: {router: {policy: affinity, index: exact}}",
            *(6, "serving.router.index", "exact", "since the policy is affinity", "prefix_aware"),
        ),
        (
            "serving: {router: {policy: score, index: exact, index_blocks: 9}}",
            *(6, "serving.router.index_blocks", "9", "nothing", "approximate"),
        ),
        (
            "serving: {router: {policy: score, weights: {prefix: 0, calls: 0, kv: 0}}}",
            *(6, "serving.router.weights", "all 0", "at least one above 0", "round_robin"),
        ),
        (
            "serving: {router: {policy: score, weights: {kv: -1}}}",
            *(6, "serving.router.weights.kv", "-1", "from 0", ""),
        ),
        ("serving: {scheduler: vlm}", 6, "serving.scheduler", "'vlm'", "sarathi", '"vllm"'),
        (
            "serving: {prefill_every: 4, scheduler: sarathi}",
            *(6, "serving.prefill_every", "4", "since the scheduler is sarathi", "only vllm"),
        ),
        (
            "serving: {mixed_chunk: true}",
            6,
            "serving.mixed_chunk",
            "True",
            "nothing",
            "only sglang",
        ),
        (
            "serving: {schedule_conservativeness: 0.3}",
            *(6, "serving.schedule_conservativeness", "0.3", "nothing", "only sglang"),
        ),
        ("serving: {reserve: pow2}", 6, "serving.reserve", "pow2", "nothing", "only orca"),
        (
            "serving: {max_queue_delay: 5 ms, scheduler: orca}",
            *(6, "serving.max_queue_delay", "0.005", "since the scheduler is orca", "only static"),
        ),
        (
            "serving: {scheduler: static, token_budget: 2048}",
            *(6, "serving.token_budget", "2048", "since the scheduler is static", "sequences"),
        ),
        (
            "serving: {scheduler: orca, kv: {retain: session}}",
            *(6, "serving.kv.retain", "session", "since the scheduler is orca", "no prefixes"),
        ),
        (
            "serving: {scheduler: orca, reserve: max}",
            *(6, "serving.max_model_len", "nothing", "if and only if `reserve` is max", "both"),
        ),
        (
            "serving: {scheduler: orca, max_model_len: 2048}",
            *(6, "serving.max_model_len", "2048", "if and only if `reserve` is max", "both"),
        ),
        ("serving: {token_budget: 1}", 6, "serving.token_budget", "1", "max_sequences", "raise"),
    ],
)
def test_one_fault_tells_place_and_cure(text, where, key, found, expected, cure):
    (fault,) = faults(HEAD + GPU + STREAM + text)
    assert fault.where == f"f.yaml:{where}"
    assert fault.key == key
    assert found in fault.found
    assert expected in fault.expected
    assert cure in fault.cure


@pytest.mark.parametrize(
    ("arrivals", "key", "text"),
    [
        ("{rate: 2/s}", "process", "nothing"),
        ("{process: poison, rate: 2/s}", "process", "'poison'"),
        ("{process: poisson, cv: 2, rate: 2/s}", "cv", "unknown key"),
        ("{process: poisson}", "rate", "nothing"),
    ],
)
def test_faults_in_a_union_name_the_key_without_its_tag(arrivals, key, text):
    streams = f"streams: {{s: {{llm: a, agent: x, arrivals: {arrivals}}}}}\n"
    (fault,) = faults(HEAD + GPU + streams)
    assert fault.key == f"streams.s.arrivals.{key}"
    assert text in fault.found


def test_a_name_that_is_none_is_shown_itself():
    (fault,) = faults(HEAD + GPU + STREAM.replace("llm: a", "llm: a, tenant: ops team"))
    assert (fault.key, fault.found) == ("streams.s.tenant", "'ops team'")


def test_a_misplaced_key_is_sent_home():
    streams = STREAM.replace("agent: x", "agent: x, tp: 2, rate: 2/s")
    told = {fault.key: fault.cure for fault in faults(HEAD + GPU + streams)}
    assert "arrivals" in told["streams.s.rate"]


def test_all_faults_come_at_once_in_the_order_of_lines():
    found = faults(HEAD + "run: {seed: x, window: 3}\n" + GPU.replace("pool: p", "tp: 1") + STREAM)
    assert [fault.key for fault in found] == [
        "run.window",
        "run.seed",
        "deployments.d.pool",
        "deployments.d.tp",
    ]


@pytest.mark.parametrize(
    "keys",
    [
        "scheduler: sglang, mixed_chunk: true, schedule_conservativeness: 0.3",
        "scheduler: orca, reserve: pow2, max_sequences: 10000",
        "scheduler: orca, reserve: max, max_model_len: 2048",
        "scheduler: static, max_queue_delay: 5 ms",
        "prefill_every: 4",
    ],
)
def test_what_a_scheduler_reads_is_taken_and_reads_back(keys):
    text = HEAD + GPU + STREAM + f"serving: {{{keys}}}"
    spec = read_spec(ScenarioSpec, parse_yaml(text, "f.yaml"))
    assert read_spec(ScenarioSpec, parse_yaml(dump_spec(spec), "g.yaml")) == spec


@pytest.mark.parametrize(
    ("keys", "key", "found"),
    [
        ("scheduler: sarathi", "serving.scheduler", "sarathi"),
        ("scheduler: static", "serving.scheduler", "static"),
        ("prefill_every: 4", "serving.prefill_every", "4"),
    ],
)
def test_schedulers_that_know_no_hand_offs_are_refused_for_them(keys, key, found):
    apart = (
        "deployments: {a: {pool: p, llm: a, role: prefill}, b: {pool: p, llm: a, role: decode}}\n"
    )
    (fault,) = faults(HEAD + apart + STREAM + f"serving: {{{keys}}}")
    assert (fault.where, fault.key, fault.found) == ("f.yaml:6", key, found)
    assert "since a computes prompts or decodes alone" in fault.expected
