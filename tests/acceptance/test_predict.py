"""`factorysim predict` as a user meets it: what it prints, how wide, how it refuses."""

import json
import sys

import pytest
from typer.testing import CliRunner

from factorysim.cli.app import app, main

ASK = [
    "predict", "--llm", "llama_3_1_8b", "--device", "h100_sxm",
    "--isl", "512", "--osl", "64", "--concurrency", "4",
]  # fmt: skip


def run(*more, width=80):
    result = CliRunner().invoke(app, [*ASK, *more], env={"COLUMNS": str(width)})
    assert result.exit_code == 0, result.output
    return result.stdout


def fails(monkeypatch, capsys, *more):
    monkeypatch.setattr(sys, "argv", ["factorysim", *ASK, *more])
    with pytest.raises(SystemExit) as stop:
        main()
    told = capsys.readouterr()
    assert told.out == ""
    assert "Traceback" not in told.err
    return stop.value.code, told.err


def test_the_table_has_all_that_was_asked_for_in_eighty_columns():
    text = run()
    assert max(map(len, text.splitlines())) <= 80
    for words in (
        "first token (TTFT)",
        "per token (TPOT)",
        "token gap (ITL)",
        "per device",
        "per user",
        "queue",
        "KV cache",
        "per output token",
        "Bound by memory",
        "Assumed: ",
        "Model error: 80 % of what would be measured (seen)",
        "Measured: ",
        "llama_3_1_8b on 1 x h100_sxm",
        "bf16 throughout (chosen: published in bf16",
    ):
        assert words in text, words


def test_who_drafts_is_told_and_a_verify_makes_more_than_a_token():
    drafts = ("--draft", "ngram", "--draft-tokens", "3", "--acceptance", "0.6")
    text = run(*drafts)
    assert "3 drafts a step by ngram, each accepted with 0.6: 2.18 tokens a step" in text
    told, plain = (json.loads(run("--json", *more)) for more in (drafts, ()))
    assert told["tpot_s"]["mean"] < 0.6 * plain["tpot_s"]["mean"]
    assert told["itl_s"]["p50"] == 0.0
    assert told["itl_s"]["mean"] == pytest.approx(told["tpot_s"]["mean"], rel=1e-6)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--draft-tokens", "3"), "--acceptance: found nothing, expected it too"),
        (("--draft", "ngram", "--draft-tokens", "3", "--acceptance", "2"), "acceptance"),
        (("--draft", "llama", "--draft-tokens", "3", "--acceptance", "1"), "--draft"),
        (("--draft", "mtp", "--draft-tokens", "3", "--acceptance", "1"), "MTP heads: unknown"),
        (("--draft", "qwen3_8b", "--draft-tokens", "3", "--acceptance", "1"), "128,256 tokens"),
    ],
)
def test_drafts_that_cannot_be_are_refused(options, words, monkeypatch, capsys):
    code, told = fails(monkeypatch, capsys, *options)
    assert code == 2
    assert words in told


def test_json_is_one_object_with_the_same_numbers():
    told = json.loads(run("--json", "--calls", "40"))
    assert told["concurrency"] == 4
    assert told["ttft_s"]["p95"] is None
    assert told["reasons"]["ttft_s.p95"] == "p95 needs 400 observations, there are 40"
    assert told["output_tokens_per_s"] == pytest.approx(64 * told["calls_per_s"], rel=1e-3)


def test_the_same_command_prints_the_same():
    assert run("--json") == run("--json")


def test_a_key_of_the_scenario_can_be_set():
    eager = json.loads(run("--json", "--calls", "40"))
    slow = json.loads(run("--json", "--calls", "40", "--set", "serving.engine=splitwise_2023"))
    assert slow["tpot_s"]["mean"] > 2 * eager["tpot_s"]["mean"]


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--llm", "lama_3_1_8b"], 'did you mean "llama_3_1_8b"'),
        (["--device", "h100sxmm"], 'did you mean "h100_sxm"'),
        (["--llm", "llama_3_1_405b"], "GB of weights"),
        (["--precision", "q5"], "formats: fp32"),
        (["--set", "serving.token_budgt=3"], "token_budget"),
        (["--isl", "200000"], "(200,000 + 64) = 200,064 tokens"),
        (["--catalog", "no-such-file.yaml"], "no-such-file.yaml"),
    ],
)
def test_what_does_not_work_exits_with_2_and_says_why(monkeypatch, capsys, more, said):
    code, told = fails(monkeypatch, capsys, *more)
    assert code == 2
    assert said in told


def test_a_missing_option_exits_with_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["factorysim", "predict", "--llm", "llama_3_1_8b"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    assert "--device" in capsys.readouterr().err


POOLS = ["--prefill-pool", "2xtp1", "--decode-pool", "1xtp2"]


@pytest.mark.parametrize("width", [80, 120])
def test_pools_stand_side_by_side(width):
    text = run(*POOLS, "--calls", "40", width=width)
    assert max(map(len, text.splitlines())) <= width
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "llama_3_1_8b on 2 x h100_sxm (prefill) and 2 x h100_sxm (decode)" in lines
    assert "prefill decode" in lines
    assert "devices 2 x h100_sxm 2 x h100_sxm" in lines
    assert "in 1 x dgx_h100 1 x dgx_h100" in lines
    assert "layout 2 x (TP 1) 1 x (TP 2)" in lines
    assert any(line.startswith("hand-off to decode ") for line in lines)
    for words in (
        "Moved: 67.1 MB of KV a call",
        "per output token",
        "Fullest: decode, by the",
        "bound by",
    ):
        assert words in text, words


def test_three_pools_fit_into_eighty_columns():
    split = ["--split", "afd=tp8@groq3_lpu", "--calls", "4"]
    text = run("--prefill-pool", "tp2", "--decode-pool", "tp2", *split)
    assert max(map(len, text.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "prefill decode ffn" in lines
    assert "devices 2 x h100_sxm 2 x h100_sxm 16 x groq3_lpu" in lines
    assert "fp8 throughout (chosen: groq3_lpu computes in fp8 only)" in lines
    assert "Note: decode: nobody has published the link" in text


def test_json_of_pools_has_their_hand_off():
    told = json.loads(run("--json", "--calls", "40", *POOLS, "--first-token-from", "decode"))
    assert [pool["role"] for pool in told["pools"]] == ["prefill", "decode"]
    assert told["devices"] == sum(pool["devices"] for pool in told["pools"]) == 4
    assert told["handoff"]["first_token_from"] == "decode"
    assert told["handoff"]["time_s"]["mean"] < told["ttft_s"]["mean"]
    assert told["pools"][0]["bound"]["by"] in ("compute", "memory", "link", "overhead")


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (POOLS[:2], "--decode-pool: found nothing, expected replicas too"),
        ([*POOLS, "--tp", "2"], "write it in the pools, like --prefill-pool 1xtp2"),
        ([*POOLS[:3], "tp1@b300_sx"], "--decode-pool: devices: found"),
        ([*POOLS[:3], "four"], "--decode-pool: found 'four', expected replicas of a layout"),
        (["--overlap", "layers"], "give --prefill-pool and --decode-pool"),
        (["--split", "afd=tp8"], "name the LPUs, like @groq3_lpu"),
        (["--split", "afd=tp8@b200_sxm"], "--split: found b200_sxm, expected LPUs"),
        ([*POOLS, "--llm", "llama_3_1_405b"], "deployments.decode.parallel.tp"),
    ],
)
def test_pools_that_do_not_work_exit_with_2_and_say_why(monkeypatch, capsys, more, said):
    code, told = fails(monkeypatch, capsys, *more)
    assert code == 2
    assert said in told


def test_drafts_on_lpus_stand_beside_their_llm():
    drafts = ["--draft", "llama_3_1_8b", "--draft-tokens", "2", "--acceptance", "0.5"]
    text = run(*drafts, "--split", "draft=tp8@groq3_lpu", "--calls", "4")
    assert max(map(len, text.splitlines())) <= 80
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "llama_3_1_8b on 1 x h100_sxm (serve) and 24 x groq3_lpu (draft)" in lines
    assert "bf16 throughout (chosen: published in bf16, which h100_sxm computes in)" in lines
    assert "2 drafts a step by llama_3_1_8b, each accepted with 0.5: 1.75 tokens a step" in lines
