"""Rankings of devices: what is compared with what, and how it counts."""

import pytest

from factorysim.catalog import load_catalog
from factorysim.study.measured.compare import read_experiments
from factorysim.study.measured.ranks import rankings

HEAD = (
    "id,model,hardware,n_gpus,parallelism,engine,precision,scenario,isl,osl,"
    "concurrency_or_batch,metric,value\n"
)
DEVICES = {"l40s": ("L40S", 1), "h100": ("H100-SXM-80GB", 1), "h200": ("H200-SXM-141GB", 2)}


@pytest.fixture
def experiments(tmp_path):
    def read(metric, values, cut=None):
        path = tmp_path / "mine.csv"
        lines = [
            f"{key},Llama-3.1-8B-Instruct,{name},{cut or n},TP{cut or n},vLLM,bf16,server,"
            f"128,64,4,{metric},{values[key]}\n"
            for key, (name, n) in DEVICES.items()
        ]
        path.write_text(HEAD + "".join(lines), encoding="utf-8")
        return read_experiments(path, load_catalog())[0]

    return read


MEASURED = {"l40s": 100, "h100": 300, "h200": 500}  # H200: of two devices


def test_throughput_is_ranked_per_device(experiments):
    found = experiments("output_tokens_per_s_total", MEASURED)
    [ranked] = rankings(found, {"l40s": 90.0, "h100": 280.0, "h200": 900.0})
    assert dict(zip(ranked.devices, ranked.measured, strict=True))["h200_sxm"] == pytest.approx(250)
    assert (ranked.spearman, ranked.pairs, ranked.agree) == (0.5, 3, 2)


def test_the_order_that_was_measured_gives_one(experiments):
    found = experiments("output_tokens_per_s_total", MEASURED)
    [ranked] = rankings(found, {"l40s": 1.0, "h100": 3.0, "h200": 4.0})
    assert (ranked.spearman, ranked.agree) == (1.0, 3)


def test_tpot_is_ranked_in_one_layout(experiments):
    found = experiments("tpot_ms", {"l40s": 9, "h100": 4, "h200": 3})
    [ranked] = rankings(found, {"l40s": 5.0, "h100": 6.0, "h200": 1.0})
    assert ranked.devices == ("l40s", "h100_sxm")
    assert (ranked.spearman, ranked.pairs, ranked.agree) == (None, 1, 0)


def test_tpot_at_the_highest_rate_of_each_is_not_at_one_load(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text(
        HEAD
        + "".join(
            f"{key},Llama-2-70B-chat,{name},8,TP8,TensorRT-LLM,fp8,server,OpenOrca<=1024,"
            f"OpenOrca<=1024,max valid QPS,{metric},{value}\n"
            for name, value in (("H100-SXM-80GB", 100), ("L40S", 150))
            for key, metric in (
                (f"t{value}", "tpot_ms"),
                (f"r{value}", "output_tokens_per_s_total"),
            )
        ),
        encoding="utf-8",
    )
    found, _, _ = read_experiments(path, load_catalog())
    got = dict.fromkeys(("t100", "r100", "t150", "r150"), 1.0)
    assert [one.quantity for one in rankings(found, got)] == ["throughput"]


def test_what_is_not_predicted_is_not_ranked(experiments):
    assert rankings(experiments("output_tokens_per_s_total", MEASURED), {"l40s": 1.0}) == []
