"""Bad input, as a user meets it: exit 2, where and what and the cure, and nothing left behind."""

import gzip
import json
import os
import re
import shutil
import signal
import subprocess
import time
from itertools import pairwise
from pathlib import Path

import pytest

from factorysim.resources import resource_root
from tests.acceptance.program import PROGRAM, SMALL, changed, factorysim, separate

LAW = "law: {kind: fixed, prompt: {kind: exponential, mean: 1 s}}"
DEMAND = "calls: {prompt_tokens: {mean: 1}, output_tokens: {mean: 1}}"
ARRIVALS = "\n    arrivals: {process: poisson, rate: 0.5 /s}"


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """A folder of the user's, and the user in it."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(name, content):
    Path(name).write_bytes(content if isinstance(content, bytes) else content.encode())


def refused(*command):
    """Message of a command that is the user's fault: nothing printed, nothing left behind."""
    before = listing()
    code, out, err = factorysim(*command)
    assert code == 2, out[:100] + err
    assert out == ""
    assert "Traceback" not in err
    assert listing() == before
    return err


def listing():
    """Names of what is in the user's folder."""
    return sorted(path.name for path in Path().iterdir())


def refused_run(content, *options):
    """Message of a run of this scenario, which must not begin."""
    write("case.yaml", content)
    return refused("run", "case.yaml", "--out", "out", "--workers", "1", *options)


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


# Graphs of the user's own


@pytest.fixture(scope="module")
def graphml():
    return factorysim("show", "teaching/mm1", "--format", "graphml").out


@pytest.fixture(scope="module")
def node_link():
    return json.loads(factorysim("show", "teaching/mm1", "--format", "json").out)


def refused_graph(content, name="factory.graphml"):
    write(name, content)
    write("mine.yaml", f"schema: factorysim.topology/1\ngraph: {name}\n")
    told = refused_run(changed("teaching/mm1", "mine.yaml"))
    assert name in told
    assert refused("validate", "mine.yaml").endswith("in 1 file\n")
    return told


def test_a_graph_of_the_user_runs(graphml):
    write("factory.graphml", graphml)
    write("mine.yaml", "schema: factorysim.topology/1\ngraph: factory.graphml\n")
    write("case.yaml", changed("teaching/mm1", "mine.yaml"))
    assert factorysim("run", "case.yaml", "--workers", "1", "--quiet").code == 0


ENTITIES = "".join(f'<!ENTITY l{i} "{f"&l{i - 1};" * 10}">' for i in range(1, 10))


@pytest.mark.parametrize(
    "head",
    [
        f'<!DOCTYPE graphml [<!ENTITY l0 "lol">{ENTITIES}]>',
        '<!DOCTYPE graphml [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
        '<!DOCTYPE graphml SYSTEM "http://127.0.0.1:9/graphml.dtd">',
    ],
    ids=["entity bomb", "external entity", "external DTD"],
)
def test_hostile_graphml_is_refused(head, graphml):
    body = graphml.partition("?>")[2].replace("factory<", "&l9;<" if "l9" in head else "factory<")
    told = refused_graph(f'<?xml version="1.0"?>{head}{body}')
    assert "without a DTD or entities" in told
    assert "root:" not in told


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (lambda text: "", "no XML"),
        (lambda text: text[: len(text) // 2], "no XML"),
        (lambda text: text.replace("factory<", "\0<"), "no XML"),
        (lambda text: "<html/>", "<graphml>"),
        (lambda text: re.sub(r"<edge .*?</edge>", "", text, flags=re.S), "a connected graph"),
        (lambda text: text.replace(">125000000000.0<", ">-1<", 1), "bandwidth"),
        (lambda text: text.replace(">125000000000.0<", ">nan<", 1), "bandwidth"),
        (lambda text: text.replace(">h100_sxm<", ">h100_sxn<"), "h100_sxn"),
    ],
    ids=["empty", "cut", "control", "HTML", "disconnected", "negative", "NaN", "unknown"],
)
def test_a_bad_graphml_is_told(spoil, words, graphml):
    assert words in refused_graph(spoil(graphml))


def twice(graph):
    graph["nodes"].append(graph["nodes"][0])


def nowhere(graph):
    graph[edges_of(graph)][0]["target"] = "nowhere"


def strange(graph):
    graph["nodes"][-1]["kind"] = "warp drive"


def edges_of(graph):
    return "links" if "links" in graph else "edges"


@pytest.mark.parametrize(
    ("spoil", "words"), [(twice, "clients"), (nowhere, "nowhere"), (strange, "warp drive")]
)
def test_a_bad_node_link_graph_is_told(spoil, words, node_link):
    graph = json.loads(json.dumps(node_link))
    spoil(graph)
    assert words in refused_graph(json.dumps(graph), "factory.json")


@pytest.mark.parametrize("text", ["", '{"nodes": [', "[" * 100_000, "{}", "[]", "7"])
def test_what_is_no_node_link_graph_is_told(text):
    refused_graph(text, "factory.json")


# Traces


def row(at_ms, prompt, output):
    blocks = list(range(-(-abs(prompt) // 512)))[:100]
    return json.dumps(
        {
            "timestamp": at_ms,
            "input_length": prompt,
            "output_length": output,
            "hash_ids": blocks,
        }
    )


ROWS = "".join(row(1000 * i, 600, 5) + "\n" for i in range(50))
LEAK = """
from factorysim.sim.audit import Ledgers

once = Ledgers.add_calls


def twice(self, *told):
    once(self, *told)
    once(self, *told)


Ledgers.add_calls = twice
"""
"""Read by every interpreter at its start, where it stands on the path."""

AZURE = "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.9799600,374,44\n"
META = '{"k": "meta", "schema": "fstrace/1", "name": "x"}\n'


def node(name, *after):
    record = {"k": "llm", "sid": "s", "id": name, "in": 9, "out": 9, "after": list(after)}
    return json.dumps(record) + "\n"


TRACES = {
    "empty": ("t.jsonl", "", None, "no rows"),
    "blank": ("t.jsonl", "\n\n", None, "no rows"),
    "cut off": ("t.jsonl", ROWS[:-20], 50, "cut off"),
    "unsorted": ("t.jsonl", ROWS + row(3, 9, 9), 51, "sort the rows"),
    "no prompt": ("t.jsonl", ROWS + row(90_000, 0, 9), 51, "drop the row"),
    "no output": ("t.jsonl", ROWS + row(90_000, 9, 0), 51, "drop the row"),
    "negative": ("t.jsonl", ROWS + row(90_000, -9, 9), 51, "input_length"),
    "absurd": ("t.jsonl", ROWS + row(90_000, 9, 10**18), 51, "from 1 to"),
    "in the far future": ("t.jsonl", ROWS + row(10**30, 9, 9), 51, "timestamp"),
    "NaN": ("t.jsonl", ROWS + row(float("nan"), 9, 9), 51, "NaN"),
    "not UTF-8": ("t.jsonl", ROWS.encode() + b"\xff\n", 51, "not UTF-8"),
    "gzip cut off": ("t.jsonl.gz", gzip.compress(ROWS.encode())[:-40], 38, "cut off"),
    "gzip of nothing": ("t.jsonl.gz", b"\x1f\x8b" + b"?" * 100, 1, "broken gzip"),
    "gzip bomb": ("t.jsonl.gz", gzip.compress(bytes(50_000_000)), 1, "shorter rows"),
    "strange": ("t.jsonl", '{"a": 1}\n', 1, "`factorysim trace formats`"),
    "Azure without a time": ("t.csv", AZURE + "yesterday,1,1\n", 3, "a UTC time"),
    "Azure cut off": ("t.csv", AZURE + "2023-11-16 18:17:04,1\n", 3, "cut off"),
    "a cycle": ("t.jsonl", META + node("a", "b") + node("b", "a"), 2, "a cycle"),
    "after nobody": ("t.jsonl", META + node("a") + node("b", "c"), 3, "'c'"),
}


@pytest.mark.parametrize(("name", "content", "line", "words"), TRACES.values(), ids=TRACES)
@pytest.mark.parametrize("command", ["inspect", "convert", "run", "validate"])
def test_a_bad_trace_is_told_by_line_and_cure(command, name, content, line, words):
    write(name, content)
    write("case.yaml", changed(DEMAND + ARRIVALS, f"trace: {name}"))
    commands = {
        "inspect": ("trace", "inspect", name),
        "convert": ("trace", "convert", name, "other.jsonl"),
        "run": ("run", "case.yaml", "--workers", "1"),
        "validate": ("validate", "case.yaml"),
    }
    told = refused(*commands[command])
    assert (f"{name}:{line}: " if line else f"{name}: ") in told
    assert words in told


@pytest.mark.parametrize("name", ["nowhere.jsonl", "pipe", "folder", "/dev/zero"])
def test_what_is_no_trace_file_is_not_opened(name):
    os.mkfifo("pipe")
    Path("folder").mkdir()
    assert name in refused("trace", "inspect", name)
    assert name in refused("trace", "convert", name, "other.jsonl")
    told = refused_run(changed(DEMAND + ARRIVALS, f"trace: {name}"))
    assert f"case.yaml:11: streams.calls.trace: found '{name}'" in told


# Profiles, agents, catalogs


PROFILE = "phase,tokens,context_tokens,step_s\ndecode,1,100,0.010\nprefill,100,0,0.050\n"


@pytest.mark.parametrize(
    ("content", "line"),
    [
        ("", 1),
        (PROFILE.replace("0.050", "nan"), 3),
        (PROFILE.replace("0.050", "-1"), 3),
        (PROFILE.replace("context_tokens", "context"), 1),
        (PROFILE[:-9], 3),
        (PROFILE + "decode,1,100,0.020\n", 4),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_bad_profile_is_told_by_line(command, content, line):
    write("steps.csv", content)
    write("case.yaml", changed(LAW, "law: {kind: table, file: steps.csv}"))
    assert f"steps.csv:{line}: " in refused(command, "case.yaml")


AGENT = (resource_root("scenarios").parent / "factorysim/catalog/agents/chat.yaml").read_text()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "schema: factorysim.agent/1"),
        (changed("value: 500", "value: -5", AGENT), "a whole number"),
        (changed("60 s,", "60,", AGENT), "a time above zero"),
        (changed("mean: 4.0", "mean: 1e300", AGENT), "a number from 1 to 10000"),
        (changed("calculate: 1.0", "calcluate: 1.0", AGENT), "me.yaml:16: tools.shares.calc"),
        (changed("calculate: 1.0", "calcluate: 1.0", AGENT), 'did you mean "calculate"?'),
        (
            changed(
                "parallel: {shares: {1: 1.0}", "parallel: {shares: {2: 1.0}, tools: [x]", AGENT
            ),
            'me.yaml:17: parallel.tools: found "x", expected classes of tools.shares (calculate)',
        ),
        (changed("turns:", "truns:", AGENT), 'did you mean "turns"?'),
    ],
)
@pytest.mark.parametrize("command", ["run", "validate"])
def test_a_bad_agent_is_told_in_plain_words(command, content, words):
    write("me.yaml", content)
    write("case.yaml", changed(DEMAND, "agent: me.yaml"))
    told = refused(command, "case.yaml", *(["--workers", "1"] if command == "run" else []))
    assert "me.yaml" in told
    assert words in told
    assert "Input should" not in told


def test_a_bad_catalog_is_told():
    bad = "schema: factorysim.catalog/1\naccelerators:\n  h100_sxm:\n    memory_bandwidth: "
    write("mine.yaml", bad + "{value: -3, unit: TB/s}\n")
    assert "mine.yaml:4: accelerators.h100_sxm" in refused_run(SMALL + "catalog: mine.yaml\n")


# Places to write


@pytest.mark.parametrize(
    "place", ["file", "file/run", "things", ".", "/dev/null", "/proc/nowhere/run", "x" * 300]
)
def test_a_place_that_cannot_be_written_is_refused_at_once(place):
    write("file", "mine")
    Path("things").mkdir()
    write("things/mine.txt", "mine")
    write("case.yaml", SMALL)
    told = refused("run", "case.yaml", "--out", place)
    assert told.startswith(f"{place}: found ")
    assert "--out" in told
    assert Path("things/mine.txt").read_text() == Path("file").read_text() == "mine"


def test_compare_and_show_refuse_a_place_that_cannot_be_written():
    write("file", "mine")
    write("case.yaml", SMALL)
    refused("compare", "case.yaml", "case.yaml", "--out", "file")
    refused("show", "case.yaml", "--format", "yaml", "--out", "nowhere/resolved.yaml")
    refused("show", "case.yaml", "--format", "yaml", "--out", ".")
    refused("trace", "generate", "nowhere/t.jsonl", "--duration", "1 min")


@pytest.fixture
def full_disk(folder):
    """A file system of a few pages, if this user may mount one."""
    place = folder / "disk"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(place)]
    if shutil.which("mount") is None or subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting a small disk needs root")
    yield place
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_leaves_nothing_behind(full_disk):
    write("case.yaml", changed("200 s", "2000 s"))
    for command in [
        ("run", "case.yaml", "--out", full_disk / "a" / "run", "--workers", "1"),
        ("compare", "case.yaml", "case.yaml", "--out", full_disk / "both", "--workers", "1"),
        ("show", "open/hgx-h200", "--format", "json", "--out", full_disk / "graph.json"),
        ("trace", "generate", full_disk / "t.jsonl", "--duration", "10 h"),
    ]:
        told = refused(*command)
        assert "no space left on device" in told.lower()
        assert list(full_disk.iterdir()) == []


def test_a_run_that_fails_leaves_an_earlier_one_whole(folder):
    write("case.yaml", SMALL)
    assert factorysim("run", "case.yaml", "--out", "out", "--workers", "1").code == 0
    before = {path: path.read_bytes() for path in (folder / "out").iterdir()}
    write("t.jsonl", ROWS + row(90_000, 0, 9))
    refused_run(changed(DEMAND + ARRIVALS, "trace: t.jsonl"))
    assert {path: path.read_bytes() for path in (folder / "out").iterdir()} == before


# Our own faults, and interruptions


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_a_law_that_breaks_is_our_fault(workers, folder, monkeypatch):
    """Planted: every call is counted twice. Exit 1, which law, and no run."""
    write("case.yaml", SMALL)
    write("sitecustomize.py", LEAK)
    monkeypatch.setenv("PYTHONPATH", str(folder))
    code, out, err = separate("run", "case.yaml", "--out", "out", "--workers", workers, cwd=folder)
    assert (code, out) == (1, "")
    assert "breaks a law of conservation: calls" in err
    assert "report it" in err
    assert "Traceback" not in err
    assert set(listing()) - {"__pycache__"} == {"case.yaml", "sitecustomize.py"}


@pytest.mark.slow
def test_an_interrupted_run_keeps_what_has_finished(folder):
    """Ctrl-C in the middle: exit 130, and a run of the replications that had ended.

    Five hundred of them take a minute: the first ones leave tables long before the end.
    """
    write("case.yaml", changed("200 s", "4000 s"))
    options = ("--reps", "500", "--out", "out", "--workers", "1")
    process = interruptible("run", "case.yaml", *options)
    wait_for(process, lambda: list(folder.glob(".out.partial-*/part-00002/calls.parquet")))
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130
    assert re.search(r"(\d+) of 500 replications had finished and are kept in out", err)
    assert "Traceback" not in err
    manifest = json.loads((folder / "out" / "manifest.json").read_text())
    assert manifest["interrupted"] is True
    kept = [one["replication"] for one in manifest["replications"]]
    assert kept == list(range(len(kept)))
    assert str(len(kept)) in err
    assert listing() == ["case.yaml", "out"]


def interruptible(*command):
    """Start a command that Ctrl-C reaches, also where the tests run in the background.

    A shell has what it puts there ignore it, and whatever that starts inherits this.
    """
    return subprocess.Popen(
        [*PROGRAM, *command],
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for(process, condition):
    """Look again and again until it is so, however slow the machine; not past the process' end."""
    while not condition():
        assert process.poll() is None, "it ended before"
        time.sleep(0.05)


@pytest.mark.slow
def test_an_interruption_before_anything_has_finished_leaves_nothing(folder):
    """Ctrl-C once the first replication writes rows: everything it needs is loaded by then.

    It has a hundred million calls to go.
    """
    write("case.yaml", changed("200 s", "200000000 s"))
    process = interruptible("run", "case.yaml", "--out", "out", "--workers", "1")
    wait_for(process, lambda: list(folder.glob(".out.partial-*/part-00000/*.parquet")))
    process.send_signal(signal.SIGINT)
    err = process.communicate()[1]
    assert process.returncode == 130
    assert "Traceback" not in err
    assert listing() == ["case.yaml"]


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
