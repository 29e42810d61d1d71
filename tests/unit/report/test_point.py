"""A point in the terminal: what stands where, and that nothing of it is obeyed."""

import io

from rich.console import Console

from factorysim.catalog.fact import Fact
from factorysim.report.point import point_report
from factorysim.study.predict import predict


def text_of(point, width=80):
    out = io.StringIO()
    console = Console(file=out, width=width, highlight=False, markup=False)
    for part in point_report(point):
        console.print(part)
    return out.getvalue()


POINT = predict("llama_3_1_8b", "h100_sxm", isl=512, osl=64, concurrency=4, calls=40)


def test_values_stand_in_their_rows():
    found = POINT._replace(
        output_tokens_per_s=1000.0,
        output_tokens_per_s_per_device=500.0,
        tokens_per_s_per_user=None,
        queue_mean=2.5,
        queue_max=7.0,
        queue_s=0.25,
        preemptions_per_call=0.5,
        watts_per_device=456.0,
    )
    lines = [" ".join(line.split()) for line in text_of(found).splitlines()]
    assert "output tokens/s 1.00 k 500 -" in lines
    assert "queue 2.50 calls, at most 7; 250 ms to the first step" in lines
    assert "preempted 0.500 times a call" in lines
    text = text_of(found)
    assert "456 W a device of 700 W TDP" in text


def test_withheld_quantiles_say_why_once():
    text = text_of(POINT)
    assert text.count("p95 needs 400 observations, there are 40") == 1


def test_the_largest_share_names_the_bound():
    bound = POINT.bound._replace(compute=0.1, memory=0.1, link=0.1, overhead=0.7)
    assert "Bound by starts, host, the rest: 70.0 % of the time in steps" in text_of(
        POINT._replace(bound=bound)
    )


def test_of_two_memories_the_one_that_binds_is_named():
    bound = POINT.bound._replace(compute=0.1, memory=0.7, link=0.1, overhead=0.1)
    text = text_of(POINT._replace(bound=bound, memory="dram", mbu=0.25))
    assert "Bound by memory (DRAM): 70.0 % of the time in steps" in text
    assert "MBU 25.0 % (DRAM)" in text
    text = text_of(POINT._replace(bound=bound._replace(link=0.9), memory="dram"))
    assert "Bound by links: 90.0 %" in text


def test_mixed_formats_are_all_told():
    precision = POINT.precision.model_copy(update={"weights": "w4a16", "kv": "fp8"})
    text = text_of(POINT._replace(precision=precision))
    assert "w4a16 weights, bf16 arithmetic, fp8 KV cache" in text


def test_assumed_facts_have_their_bands():
    facts = (
        Fact("accelerators.x.memory_bandwidth", 1e12, 5e11, 2e12, "B/s", "assumed", ()),
        Fact("accelerators.x.tdp", None, None, None, "W", "unknown", ()),
    )
    text = text_of(POINT._replace(assumed=facts))
    lines = [" ".join(line.split()) for line in text.splitlines()]
    assert "accelerators.x.memory_bandwidth 1.00 TB/s 500 GB/s .. 2.00 TB/s" in lines
    assert "accelerators.x.tdp ?" in lines
    assert "nothing; every fact" in text_of(POINT._replace(assumed=()))


def test_control_characters_are_not_obeyed():
    hostile = POINT._replace(llm="\x1b[31mred", notes=("\x1b]0;title\x07",))
    assert "\x1b" not in text_of(hostile)
    assert "\x07" not in text_of(hostile)


APART = predict(
    "llama_3_1_8b", "h100_sxm", isl=512, osl=64, concurrency=4, calls=40,
    prefill_pool="tp1", decode_pool="tp1",
)  # fmt: skip


def test_pools_say_what_they_do():
    prefill, decode = APART.pools
    prefill = prefill._replace(
        bound=None, queue_mean=2.5, queue_max=7.0, queue_s=0.25, mfu=None, mbu=0.125, racks=3
    )
    decode = decode._replace(kv=None, utilization=0.5, stages=13, ep=2, replicas=1200)
    prefill = prefill._replace(saturation=0.875)
    found = APART._replace(pools=(prefill, decode), preemptions_per_call=0.5)
    lines = [" ".join(line.split()) for line in text_of(found).splitlines()]
    share = f"{decode.bound.memory:.1%}".replace("%", " %")
    assert f"bound by - {share} memory" in lines
    assert "queue 2.50, at most 7; 250 ms none" in lines
    assert "in 3 servers of one 1 server of one" in lines
    assert "layout 1 x (TP 1) 1,200 x (TP 1, EP 2, 13 stages)" in lines
    assert any(line.startswith("MFU, MBU -, 12.5 %") for line in lines)
    assert any(line.startswith("KV blocks") and line.endswith("a replica -") for line in lines)
    assert "preempted 0.500 times a call" in lines
    assert any(line.startswith("full 87.5 % ") for line in lines)
    found = found._replace(pools=(prefill, decode._replace(saturation=0.75)))
    text = " ".join(text_of(found._replace(bottleneck="decode: KV cache")).split())
    assert "Fullest: decode, by the KV cache, 75.0 %; its steps are bound by memory" in text


def test_what_moves_is_told():
    moved = APART.handoff._replace(
        moved_bytes_per_call=2.5e9, moved_bytes_per_s=5e9, overlap="layers"
    )
    text = " ".join(text_of(APART._replace(handoff=moved)).split())
    assert "Moved: 2.50 GB of KV a call, 5.00 GB/s in all, layer by layer while" in text
    assert "the first token is made by prefill" in text
    none = APART._replace(handoff=APART.handoff._replace(calls_per_s=0.0))
    assert "Moved: nothing: no call goes on" in text_of(none)


def test_names_of_pools_are_not_obeyed():
    hostile = tuple(pool._replace(device="\x1b[31mred", name="\x07") for pool in APART.pools)
    text = text_of(APART._replace(pools=hostile))
    assert "\x1b" not in text
    assert "\x07" not in text
