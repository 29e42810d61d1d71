"""Bad scenarios, as a user meets them: exit 2, where and what and the cure, nothing left behind."""

import os
import re
from itertools import pairwise

import pytest

from tests.acceptance.program import SMALL, changed, factorysim
from tests.acceptance.refusal import DEMAND, LAW, refused, refused_run, write

pytestmark = pytest.mark.usefixtures("folder")


def speculating(keys):
    """A scenario whose deployment speculates."""
    return changed(LAW, LAW + ", speculation: {" + keys + "}")


DRAFTS = "method: ngram, draft_tokens: 3, acceptance: "
NESTED = "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in pairwise("abcdefghij"))

AGENTS = changed(DEMAND, "agent: chat\n    llm_by_step: {user: som}")
"""A chat whose first calls go to an LLM that there is not."""


def limited(rules, more=""):
    """The small scenario behind a gateway with these rules."""
    return changed("serving: {", f"serving: {{{more}admission: {{{rules}}}, ")


SCENARIOS = {
    "broken YAML": (SMALL + "site: {pue: 1.1\n", 17, "broken YAML"),
    "a tab": (changed("  any:", "\tany:"), 5, "indent with spaces"),
    "a key twice": (SMALL + "question: again?\n", 16, "first on line 2"),
    "an unknown key": (changed("replications:", "replicatoins:"), 15, '"replications"'),
    "an unknown key further in": (changed("ttft:", "tfft:"), 13, 'did you mean "ttft"?'),
    "a unit of another thing": (changed("200 s", "200 GB"), 15, "units: s, ms"),
    "a sum that would never end": (changed("200 s", "9**9**8 s"), 15, "a time above zero"),
    "no unit": (changed("200 s", "200"), 15, "such as '2 s'"),
    "a negative time": (changed("200 s", "-200 s"), 15, "run.window"),
    "a negative rate": (changed("0.5 /s", "-0.5 /s"), 12, "a rate above zero"),
    "no rate": (changed("0.5 /s", "0 /s"), 12, "a rate above zero"),
    "no number": (changed("attain: 0.5", "attain: .nan"), 13, "a finite number"),
    "no end": (changed("budget: 16", "budget: .inf"), 14, "a finite number"),
    "too many replications": (changed("ations: 2", "ations: 999999999"), 15, "from 1 to 10000"),
    "a rate beyond reason": (changed("0.5 /s", "1e29 /s"), 12, "at most 1e+12 /s"),
    "more sessions than a run ends with": (
        changed("0.5 /s", "1e9 /s"),
        12,
        "a lower rate, a shorter run.window",
    ),
    "a run of geological length": (changed("200 s", "1e9 year"), 15, "it must be at most"),
    "a file that extends itself": (SMALL + "extends: case.yaml\n", 16, "a cycle"),
    "an alias bomb": ("a: &a [x, x, x]\n" + NESTED, 6, "fewer aliases"),
    "an alias in itself": ("a: &a [*a]\n", 1, "inside itself"),
    "a hole without a floor": ("a: " + "[" * 5000, 1, "a flatter file"),
    "tiers of KV out of order": (
        changed("budget: 16", "budget: 16, kv: {tiers: [hbm, nvme, host]}"),
        14,
        "write [hbm, host, nvme]",
    ),
    "a tier of KV that the topology lacks": (
        changed("budget: 16", "budget: 16, kv: {tiers: [hbm, cmx]}"),
        14,
        "no storage rack",
    ),
    "an unknown LLM": (changed("llama_3_1_8b", "llama_3_1_8bb"), 5, '"llama_3_1_8b"'),
    "an LLM that is not among llms": (changed("llm: any\n", "llm: some\n"), 10, "(any)"),
    "an unknown topology": (changed("/mm1", "/mm2"), 3, 'did you mean "teaching/mm1"?'),
    "an unknown pool": (changed("pool: gpu", "pool: gpus"), 7, "gpu or gpu.cpu"),
    "an unknown engine": (changed("serving: {", "serving: {engine: vlm, "), 14, '"vllm"'),
    "an unknown site": (SMALL + "site: us_texs\n", 16, '"us_texas"'),
    "an unknown agent": (changed(DEMAND, "agent: code_analyst"), 11, '"code_analysis"'),
    "an unknown rack": (
        changed("teaching/mm1", "{schema: factorysim.topology/1, racks: {gpu: {rack: h100}}}"),
        3,
        "say which: h100_nvl, h100_sxm",
    ),
    "nothing at all": ("", 1, "factorysim.scenario/1"),
    "another encoding": (changed("How", "H\xf6w").encode("latin-1"), 2, "not UTF-8"),
    "a control character": (changed("How", "\0"), 2, "control character"),
    "another version": (changed("scenario/1", "scenario/9"), 1, "another version"),
    "a tag that would run code": (
        changed("How long does a call wait for one GPU?", '!!python/object/apply:os.system ["ls"]'),
        2,
        "files hold plain values only",
    ),
    "a merge key": (SMALL + "<<: {question: Why?}\n", 16, "use `extends:`"),
    "a second document": (SMALL + "---\na: b\n", 16, "a second document"),
    "words for a number": (changed("ations: 2", "ations: two"), 15, "a whole number"),
    "an LLM of a step that is not among llms": (AGENTS, 12, "(any)"),
    "a step that no agent has": (AGENTS.replace("user: som", "planer: any"), 12, "planner, worker"),
    "steps of calls that are all alike": (
        changed("    slo:", "    llm_by_step: {user: any}\n    slo:"),
        13,
        "an `llm` each",
    ),
    "long prompts and nothing for others": (
        changed("pool: gpu", "pool: gpu, prompts_above: 100"),
        7,
        "takes shorter prompts",
    ),
    "long prompts for tools": (
        changed("queue:", "t: {role: tools, pool: gpu.cpu, prompts_above: 9}\n  queue:"),
        7,
        "since the role is tools",
    ),
    "a class of tools that there is not": (
        changed("queue:", "t: {role: tools, pool: gpu.cpu, classes: [shel]}\n  queue:"),
        7,
        'did you mean "shell"',
    ),
    "a class of tools that two deployments run": (
        changed(
            "queue:",
            "t: {role: tools, pool: gpu.cpu, classes: [shell]}\n"
            "  u: {role: tools, pool: cloud, classes: [shell]}\n  queue:",
        ),
        8,
        "each tool class once",
    ),
    "a runtime that there is not": (
        changed("serving: {", "serving: {runtime: nemoclav, "),
        14,
        'did you mean "nemoclaw"',
    ),
    "sandboxes of an LLM": (
        changed("pool: gpu", "pool: gpu, sandbox: {}"),
        7,
        "since the role is serve",
    ),
    "memory of sandboxes that no host has": (
        changed("queue:", "t: {role: tools, pool: gpu.cpu, sandbox: {memory: 900 TB}}\n  queue:"),
        7,
        "the memory of a host",
    ),
    "a bucket in other units": (limited("token_bucket: {rate: 10 /s, burst: 5}"), 14, "tok/min"),
    "a bucket that holds nothing": (
        limited("token_bucket: {rate: 9 tok/s, burst: 0}"),
        14,
        "burst",
    ),
    "a limit on nobody": (
        limited("token_bucket: {rate: 9 tok/s, burst: 1, limits: {x: {rate: 1 tok/s, burst: 1}}}"),
        14,
        "a tenant: calls",
    ),
    "turns without a queue": (
        changed("serving: {", "serving: {router: {share: {}}, "),
        14,
        "shared_queue read it",
    ),
    "a share for nobody": (
        changed(
            "serving: {",
            "serving: {router: {policy: shared_queue, share: {weights: {x: 2}}}, ",
        ),
        14,
        "a tenant: calls",
    ),
    "admission that lets all in": (limited("retry: {attempts: 2}"), 14, "queue_limit"),
    "a retry that is none": (
        limited("queue_limit: {calls: 9}, retry: {attempts: 1}"),
        14,
        "from 2",
    ),
    "a limit of replicas that nobody chooses": (
        limited("queue_limit: {calls: 9}", "router: {policy: shared_queue}, "),
        14,
        "shared_queue",
    ),
    "acceptance above 1": (speculating(DRAFTS + "1.2"), 7, "acceptance"),
    "acceptance below 0": (speculating(DRAFTS + "-0.1"), 7, "acceptance"),
    "acceptance that is no number": (speculating(DRAFTS + "high"), 7, "acceptance"),
    "no acceptance": (speculating("method: ngram, draft_tokens: 3"), 7, "add `acceptance:`"),
    "fewer drafts than none": (
        speculating("method: ngram, draft_tokens: -1, acceptance: 0.5"),
        7,
        "draft_tokens",
    ),
    "an unknown way to draft": (
        speculating("method: medusa, draft_tokens: 1, acceptance: 0.5"),
        7,
        "draft_model, mtp or ngram",
    ),
    "an unknown draft LLM": (
        speculating("method: draft_model, draft_tokens: 3, acceptance: 0.5, draft: {llm: llama}"),
        7,
        "speculation.draft.llm",
    ),
    "nobody who drafts": (
        speculating("method: draft_model, draft_tokens: 3, acceptance: 0.5"),
        7,
        "since the method is draft_model",
    ),
    "a draft LLM that nobody asks": (
        speculating(DRAFTS + "0.5, draft: {llm: phi_2}"),
        7,
        "or take `method: draft_model`",
    ),
    "more drafts than the budget takes": (
        speculating("method: ngram, draft_tokens: 16, acceptance: 0.5"),
        7,
        "at most 15: 1 sequences verify 17 tokens, the budget is 16",
    ),
    "drafts for tools": (
        changed(LAW, LAW + "}\n  t: {role: tools, pool: gpu.cpu, speculation: {" + DRAFTS + "1}"),
        8,
        "none, since the role is tools",
    ),
    "an unknown split": (
        changed(LAW, "split: {kind: drafts, pool: gpu}"),
        7,
        "split.kind: found 'drafts', expected afd or draft",
    ),
    "drafts split from verifies, and none made": (
        changed(LAW, "split: {kind: draft, pool: gpu}"),
        7,
        "found nothing, expected a draft LLM, since drafts are split from verifies",
    ),
    "n-grams on LPUs": (
        changed(LAW, "split: {kind: draft, pool: gpu}, speculation: {" + DRAFTS + "1}"),
        7,
        "LPUs run an LLM of their own",
    ),
    "drafts beside experts on LPUs": (
        changed(LAW, "split: {kind: afd, pool: gpu}, speculation: {" + DRAFTS + "1}"),
        7,
        "none beside a `split` of the kind afd",
    ),
    "drafts beside measured steps": (
        changed(LAW, "law: {kind: table, file: a.csv}, speculation: {" + DRAFTS + "1}"),
        7,
        "its steps were measured without drafts",
    ),
    "no topology": (changed("topology: teaching/mm1\n", ""), 1, "add `topology:`"),
}


@pytest.mark.parametrize(("content", "line", "words"), SCENARIOS.values(), ids=SCENARIOS)
def test_a_bad_scenario_is_told_by_line_and_cure(content, line, words):
    told = refused_run(content)
    assert f"case.yaml:{line}: " in told
    assert words in told
    assert "expected" in told


def test_all_faults_of_a_file_come_at_once():
    text = changed("ttft:", "tfft:", changed("200 s", "200", changed("/mm1", "/mm2")))
    told = refused_run(text)
    assert [int(line) for line in re.findall(r"case\.yaml:(\d+): ", told)] == [3, 13, 15]


def test_two_files_that_extend_each_other_are_told_with_the_circle():
    write("other.yaml", "schema: factorysim.scenario/1\nextends: case.yaml\n")
    told = refused_run("schema: factorysim.scenario/1\nextends: other.yaml\n")
    assert "case.yaml -> other.yaml -> case.yaml" in told


def test_what_a_missing_file_would_have_given_is_not_told_as_missing():
    text = "schema: factorysim.scenario/1\nextends: nowhere.yaml\nstreams: {a: {llm: b, trce: c}}\n"
    told = refused_run(text)
    assert re.findall(r"case\.yaml:\d+: ([\w.]+): ", told) == ["extends", "streams.a.trce"]


def test_a_file_too_large_to_be_meant_is_not_read():
    assert "2,000,000 bytes" in refused_run("a: " + "x" * 3_000_000)


@pytest.mark.parametrize(
    ("option", "words"),
    [
        (("--set", "run.windw=3 s"), 'did you mean "window"?'),
        (("--set", "run.window=[1"), "a bracket is not closed"),
        (("--set", "run"), "expected key=value"),
        (("--set", "run.window=3"), "a time above zero"),
        (("--seed", "-1"), "--seed"),
        (("--reps", "0"), "--reps"),
        (("--seed", str(2**64)), "run.seed"),
        (("--workers", "many"), "--workers"),
    ],
)
def test_bad_options_are_told(option, words):
    assert words in refused_run(SMALL, *option)


@pytest.mark.parametrize("command", ["run", "validate", "show"])
@pytest.mark.parametrize("name", ["nowhere.yaml", "quickstrat", ".", "pipe", "/dev/zero"])
def test_what_is_no_file_is_not_opened(command, name):
    os.mkfifo("pipe")
    told = refused(command, name)
    assert told.startswith(name)


def test_validate_tells_the_problems_of_every_file():
    write("a.yaml", changed("200 s", "200"))
    write("b.yaml", "")
    write("c.yaml", SMALL)
    code, out, err = factorysim("validate", "a.yaml", "b.yaml", "c.yaml", "quickstrat")
    assert code == 2
    assert out == "c.yaml: ok (scenario)\n"
    assert "a.yaml:15: " in err
    assert "b.yaml:1: " in err
    assert 'did you mean "quickstart"?' in err
    assert err.endswith("3 problems in 4 files\n")


def test_escapes_of_a_file_do_not_reach_the_terminal():
    told = refused_run(changed("llama_3_1_8b", '"\\e[31mred"'))
    assert "case.yaml:5: " in told
    assert "\x1b" not in told


# What does not fit


UNFIT = {
    "weights": (changed("llama_3_1_8b", "mistral_large_3"), 7, ("1347 GB", "85.5 GB")),
    "blocks under a law of given times": (
        changed("token_budget: 16", "token_budget: 16, kv: {blocks: 40000}"),
        7,
        ("40000 KV blocks of 0.002097 GB", "85.5 GB", "fewer serving.kv.blocks"),
    ),
    "replicas": (changed("pool: gpu", "pool: gpu, replicas: 5"), 7, ("5 replicas", "at most 1")),
    "a layout": (changed("pool: gpu", "pool: gpu, parallel: {tp: 3}"), 7, ("3 devices",)),
}


@pytest.mark.parametrize(("content", "line", "words"), UNFIT.values(), ids=UNFIT)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_what_does_not_fit_is_told_with_the_arithmetic(content, line, words, command):
    write("case.yaml", content)
    told = refused(command, "case.yaml")
    assert f"case.yaml:{line}: " in told
    for word in words:
        assert word in told


def test_compare_tells_which_scenario_does_not_fit():
    write("one.yaml", SMALL)
    write("two.yaml", changed("pool: gpu", "pool: gpu, replicas: 5"))
    assert refused("compare", "one.yaml", "two.yaml").startswith("two.yaml:7: ")


def test_a_factory_beyond_memory_is_refused_before_it_is_built():
    racks = "{gpu: {rack: vera_rubin_nvl72, count: 100000}}"
    text = changed("teaching/mm1", f"{{schema: factorysim.topology/1, racks: {racks}}}")
    assert "case.yaml:3: " in (told := refused_run(text))
    assert "at most 2,000,000" in told


CLOSED = """\
schema: factorysim.scenario/1
question: Does a closed loop whose calls are turned away end?
topology: teaching/one-gpu
llms: {small: {llm: llama_3_1_8b}}
deployments: {serve: {llm: small, pool: gpu}}
streams:
  chat:
    llm: small
    calls: {prompt_tokens: {mean: 100}, output_tokens: {mean: 10}}
    arrivals: {process: fixed_concurrency, concurrency: 2}
serving: {admission: {queue_limit: {calls: 1, per: router}}}
run: {kind: terminating, window: 1 s, drain: 0 s, replications: 1, seed: 1}
"""


def test_a_closed_loop_that_is_turned_away_for_ever_is_refused():
    """The next session comes as the one before is turned away: the clock would stand still."""
    write("closed.yaml", CLOSED)
    told = refused("run", "closed.yaml", "--workers", "1")
    assert told.startswith("closed.yaml:7: streams.chat: found 10,000 sessions in a row")
    assert "`arrivals.think`" in told
    write("thinks.yaml", CLOSED.replace("concurrency: 2}", "concurrency: 2, think: 1 ms}"))
    code, _, err = factorysim("run", "thinks.yaml", "--workers", "1", "--quiet")
    assert code == 0, err
