"""The ways in which tables, hubs and tools write devices and LLMs, each to its id or refused.

Spellings are those of MLPerf's systems and benchmarks, `nvidia-smi`, Hugging Face, InferenceX,
vendors' pages and tables of measurements.
"""

import pytest

from factorysim.catalog import load_catalog
from factorysim.cli.catalog import _path_of
from factorysim.errors import SpecError

CATALOG = load_catalog()

DEVICES = {
    "h100_sxm": (
        "H100-SXM-80GB", "H100-SXM", "H100 SXM5", "H100-80GB", "NVIDIA H100-SXM-80GB",
        "NVIDIA H100 80GB HBM3", "NVIDIA H100 SXM 80GB", "H100-SXM5-80GB", "h100_sxm",
    ),
    "h100_nvl": ("H100 NVL", "NVIDIA H100 NVL", "H100-NVL-94GB", "H100-NVL-94GB (PCIe)"),
    "h200_sxm": ("H200-SXM-141GB", "H200 SXM", "NVIDIA H200-SXM-141GB", "H200-SXM5"),
    "h200_nvl": ("H200 NVL", "NVIDIA H200 NVL", "H200-NVL-141GB", "H200-NVL-141GB (PCIe)"),
    "h800_sxm": ("H800", "NVIDIA H800", "H800-SXM-80GB"),
    "a100_sxm_80gb": (
        "A100-SXM-80GB", "A100-SXM4-80GB", "NVIDIA A100-SXM4-80GB", "A100-80GB", "A100 80GB SXM4",
    ),
    "a40": ("A40", "NVIDIA A40", "A40-48GB"),
    "l40s": ("L40S", "NVIDIA L40S", "L40S-48GB"),
    "gh200_144gb": ("GH200", "GH200-144GB", "NVIDIA GH200", "NVIDIA-GH200-GraceHopper-Superchip"),
    "b200_sxm": (
        "B200", "b200", "NVIDIA B200", "B200-SXM-180GB", "NVIDIA B200-SXM-180GB", "B200-180GB",
        "B200-SXM-192GB", "HGX-B200", "B200-SXM",
    ),
    "b300_sxm": ("B300", "NVIDIA B300", "B300-SXM-270GB", "B300-SXM-288GB", "HGX-B300", "b300"),
    "gb200_gpu": (
        "GB200", "NVIDIA GB200", "GB200-NVL72", "gb200-nvl72", "GB200 NVL72", "GB200-186GB",
    ),
    "gb300_gpu": ("GB300", "NVIDIA GB300", "GB300-NVL72", "GB300-279GB", "gb300"),
    "rubin_gpu": ("Rubin", "R200", "VR200", "VR200-NVL72", "Vera Rubin NVL72", "NVIDIA Rubin GPU"),
    "groq3_lpu": ("LP30", "Groq 3 LPU", "Groq 3", "Groq LPU"),
    "mi300x": (
        "MI300X", "mi300x", "AMD MI300X", "AMD Instinct MI300X", "MI300X-192GB",
        "AMD Instinct MI300X 192GB HBM3", "MI300X-OAM",
    ),
    "mi325x": ("MI325X", "MI325X-256GB", "AMD Instinct MI325X 256GB HBM3E"),
    "mi355x": ("MI355X", "MI355X-288GB", "AMD Instinct MI355X", "Instinct MI355X 288GB HBM3e"),
    "mi455x": ("MI455X", "AMD Instinct MI455X", "MI455X-432GB", "Helios"),
    "gaudi3": ("Gaudi 3", "Intel Gaudi 3", "Gaudi3", "HL-325L"),
    "crescent_island": ("Crescent Island", "Intel Crescent Island", "Xe3p"),
    "tpu_v7_ironwood": ("TPU v7", "TPU7x", "Ironwood", "TPU v7 Ironwood"),
    "tpu_8i": ("TPU 8i", "TPU v8i"),
    "trainium3": ("Trainium3", "AWS Trainium3", "Trn3", "Trainium 3"),
    "openai_jalapeno": ("Jalapeno", "OpenAI Jalapeno"),
    "rtx_3090": ("RTX 3090", "NVIDIA GeForce RTX 3090", "RTX-3090-24GB", "3090"),
    "rtx_4080": ("RTX 4080", "NVIDIA GeForce RTX 4080", "RTX-4080-16GB"),
    "rtx_4090": ("RTX 4090", "NVIDIA GeForce RTX 4090", "RTX-4090-24GB", "NVIDIA RTX 4090"),
    "rtx_5090": ("RTX 5090", "NVIDIA GeForce RTX 5090", "RTX-5090-32GB"),
    "rtx_pro_6000_bw": (
        "RTX PRO 6000", "NVIDIA RTX PRO 6000 Blackwell Server Edition", "RTX PRO 6000 Blackwell",
    ),
    "dgx_spark_gb10": ("DGX Spark", "NVIDIA DGX Spark", "NVIDIA GB10", "GB10", "DGX-Spark-128GB"),
    "apple_m1_max": ("M1 Max", "Apple M1 Max", "M1-Max-32core-64GB"),
    "apple_m2_ultra": ("M2 Ultra", "Apple M2 Ultra", "M2-Ultra-76core-192GB"),
    "apple_m3_max": ("M3 Max", "Apple M3 Max", "M3-Max-40core-128GB"),
    "apple_m4_max": ("M4 Max", "Apple M4 Max"),
    "apple_m5_max": ("M5 Max", "Apple M5 Max"),
    "apple_m5_ultra": ("M5 Ultra", "Apple M5 Ultra"),
    "vera": ("Vera", "NVIDIA Vera", "Vera CPU", "NVIDIA Vera CPU"),
    "grace": ("Grace", "NVIDIA Grace", "NVIDIA Grace CPU"),
    "epyc_9965": ("EPYC 9965", "AMD EPYC 9965"),
    "epyc_9755": ("EPYC 9755", "AMD EPYC 9755"),
    "xeon_6980p": ("Xeon 6980P", "Intel Xeon 6980P"),
    "desktop_16c": ("desktop CPU",),
}  # fmt: skip

LLMS = {
    "mistral_small_4": ("Mistral Small 4", "mistralai/Mistral-Small-4-119B-2603"),
    "mistral_large_3": (
        "Mistral Large 3", "mistralai/Mistral-Large-3-675B-Instruct-2512-NVFP4",
    ),
    "mixtral_8x7b": (
        "Mixtral-8x7B", "mixtral-8x7b", "mistralai/Mixtral-8x7B-Instruct-v0.1",
        "mistralai/Mixtral-8x7B-v0.1", "Mixtral-8x7B-Instruct", "TheBloke/Mixtral-8x7B-v0.1-GPTQ",
    ),
    "nemotron_3_nano": (
        "Nemotron 3 Nano", "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16",
        "nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-FP8",
    ),
    "nemotron_3_super": (
        "Nemotron 3 Super", "nvidia/NVIDIA-Nemotron-3-Super-120B-A12B-NVFP4",
    ),
    "nemotron_3_ultra": (
        "Nemotron 3 Ultra", "nvidia/NVIDIA-Nemotron-3-Ultra-550B-A55B-BF16",
    ),
    "nemotron_4_coalition": ("Nemotron 4",),
    "deepseek_v3": (
        "DeepSeek-V3", "deepseek-ai/DeepSeek-V3", "deepseek-ai/DeepSeek-V3-0324",
        "deepseek-ai/DeepSeek-V3.1", "deepseek-ai/DeepSeek-V3.1-Terminus", "DeepSeek-V3-Base",
    ),
    "deepseek_r1": (
        "DeepSeek-R1", "deepseek-r1", "deepseek-ai/DeepSeek-R1", "deepseek-ai/DeepSeek-R1-0528",
        "nvidia/DeepSeek-R1-0528-FP4", "nvidia/DeepSeek-R1-0528-FP4-v2", "nvidia/DeepSeek-R1-NVFP4",
        "amd/DeepSeek-R1-MXFP4-Preview", "dsr1", "dsr1-fp8", "dsr1-fp4", "DSR1",
    ),
    "deepseek_v3_2": (
        "DeepSeek-V3.2", "deepseek-ai/DeepSeek-V3.2", "deepseek-ai/DeepSeek-V3.2-Exp", "dsv3.2",
    ),
    "deepseek_v4_pro": ("DeepSeek-V4-Pro", "deepseek-ai/DeepSeek-V4-Pro", "dsv4-pro"),
    "deepseek_v4_flash": ("DeepSeek-V4-Flash", "deepseek-ai/DeepSeek-V4-Flash", "dsv4-flash"),
    "kimi_k2": (
        "Kimi-K2", "moonshotai/Kimi-K2-Instruct", "moonshotai/Kimi-K2-Instruct-0905",
        "moonshotai/Kimi-K2-Thinking", "nvidia/Kimi-K2-Thinking-NVFP4", "kimi-k2",
    ),
    "kimi_k2_5": ("Kimi-K2.5", "moonshotai/Kimi-K2.5", "kimik2.5", "nvidia/Kimi-K2.5-NVFP4"),
    "kimi_k3": ("Kimi-K3", "moonshotai/Kimi-K3"),
    "gpt_oss_120b": (
        "gpt-oss-120b", "openai/gpt-oss-120b", "GPT-OSS-120B", "gptoss120b", "gptoss-120b",
        "gpt-oss-120b-mxfp4", "unsloth/gpt-oss-120b-GGUF",
    ),
    "gpt_oss_20b": ("gpt-oss-20b", "openai/gpt-oss-20b", "gptoss20b"),
    "qwen3_235b_a22b": (
        "Qwen3-235B-A22B", "Qwen/Qwen3-235B-A22B-FP8", "Qwen/Qwen3-235B-A22B-Instruct-2507-FP8",
        "Qwen/Qwen3-235B-A22B-Thinking-2507", "nvidia/Qwen3-235B-A22B-FP4", "Qwen3-235B",
    ),
    "qwen3_30b_a3b": (
        "Qwen3-30B-A3B", "Qwen/Qwen3-30B-A3B-GPTQ-Int4", "Qwen/Qwen3-30B-A3B-Instruct-2507",
        "Qwen3-30B-A3B-Q4_K_M",
    ),
    "qwen3_8b": ("Qwen3-8B", "Qwen/Qwen3-8B-AWQ", "mlx-community/Qwen3-8B-4bit"),
    "qwen3_32b": ("Qwen3-32B", "Qwen/Qwen3-32B-FP8"),
    "qwen3_coder_30b_a3b": (
        "Qwen3-Coder-30B-A3B", "Qwen/Qwen3-Coder-30B-A3B-Instruct-FP8", "Qwen3-Coder-30B",
    ),
    "qwen2_5_coder_7b": (
        "Qwen2.5-Coder-7B", "Qwen/Qwen2.5-Coder-7B-Instruct", "Qwen2.5-Coder-7B-Instruct-Q8_0",
    ),
    "qwen_72b": ("Qwen-72B", "Qwen/Qwen-72B-Chat"),
    "llama_2_70b": (
        "Llama-2-70B", "Llama-2-70B-chat", "meta-llama/Llama-2-70b-chat-hf", "llama2-70b",
        "llama2-70b-99", "llama2-70b-99.9", "amd/Llama-2-70b-chat-hf-FP8-KV",
    ),
    "code_llama_34b": ("CodeLlama-34B", "codellama/CodeLlama-34b-Instruct-hf", "Code Llama 34B"),
    "llama_3_8b": ("Llama-3-8B", "meta-llama/Meta-Llama-3-8B-Instruct", "llama3-8b"),
    "llama_3_70b": ("Llama-3-70B", "meta-llama/Meta-Llama-3-70B-Instruct"),
    "llama_3_1_8b": (
        "Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct", "llama3.1-8b",
        "meta-llama/Meta-Llama-3.1-8B-Instruct", "nvidia/Llama-3.1-8B-Instruct-FP8",
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w8a8",
        "RedHatAI/Meta-Llama-3.1-8B-Instruct-FP8-dynamic",
    ),
    "llama_3_1_70b": (
        "Llama-3.1-70B-Instruct-FP8", "nvidia/Llama-3.1-70B-Instruct-FP8",
        "hugging-quants/Meta-Llama-3.1-70B-Instruct-AWQ-INT4", "llama-3.1-70b",
    ),
    "llama_3_1_405b": (
        "Llama-3.1-405B", "meta-llama/Llama-3.1-405B-Instruct-FP8", "llama3.1-405b", "llama405b",
        "amd/Llama-3.1-405B-Instruct-MXFP4",
    ),
    "llama_3_3_70b": (
        "Llama-3.3-70B-Instruct", "nvidia/Llama-3.3-70B-Instruct-FP4", "llama70b",
        "amd/Llama-3.3-70B-Instruct-FP8-KV",
    ),
    "llama_4_maverick": (
        "Llama-4-Maverick", "meta-llama/Llama-4-Maverick-17B-128E-Instruct-FP8",
    ),
    "gemma_4_31b": ("Gemma 4 31B", "google/gemma-4-31b-it"),
    "minimax_m2_5": ("MiniMax-M2.5", "MiniMaxAI/MiniMax-M2.5", "minimaxm2.5"),
    "glm_5": ("GLM-5", "zai-org/GLM-5-FP8", "zai-org/GLM-5.1", "glm5"),
    "glm_5_2": ("GLM-5.2", "zai-org/GLM-5.2"),
    "bloom_176b": ("BLOOM", "bigscience/bloom", "BLOOM-176B"),
    "phi_2": ("phi-2", "microsoft/phi-2"),
    "gpt_moe_2t_nvidia": ("GPT MoE 2T", "GPT-OSS-2T"),
}  # fmt: skip

RACKS = {
    "gb200_nvl72": ("GB200-NVL72", "GB200 NVL72", "NVIDIA GB200 NVL72", "DGX GB200"),
    "gb300_nvl72": ("GB300-NVL72", "NVIDIA GB300 NVL72"),
    "vera_rubin_nvl72": ("Vera Rubin NVL72", "VR NVL72", "VR200-NVL72", "Vera-Rubin-NVL72"),
    "amd_helios": ("Helios", "AMD Helios"),
    "dgx_h100": ("DGX H100", "HGX-H100", "8x H100", "DGX-H100_H100-SXM-80GBx8"),
    "hgx_h200": ("HGX H200", "DGX H200", "8xH200"),
    "hgx_b200": ("HGX-B200", "DGX B200", "8x B200"),
    "dgx_b300": ("DGX B300", "HGX-B300"),
    "mi300x_8": ("8x MI300X",),
    "h100_sxm": ("H100-SXM-80GB",),  # a device stands for a server of one
    "b200_sxm": ("B200",),
    "gb200_gpu": ("GB200",),
}

AMBIGUOUS = {
    "devices": {
        "H100": {"h100_sxm", "h100_nvl"},
        "NVIDIA H200": {"h200_sxm", "h200_nvl"},
        "h200-141gb": {"h200_sxm", "h200_nvl"},
    },
    "llms": {
        "Llama-70B": {"llama_2_70b", "llama_3_70b", "llama_3_1_70b", "llama_3_3_70b"},
        "Llama 70B Instruct": {"llama_2_70b", "llama_3_70b", "llama_3_1_70b", "llama_3_3_70b"},
        "Llama-8B": {"llama_3_8b", "llama_3_1_8b"},
        "gpt-oss": {"gpt_oss_120b", "gpt_oss_20b"},
        "gptoss": {"gpt_oss_120b", "gpt_oss_20b"},
        "DeepSeek-V4": {"deepseek_v4_pro", "deepseek_v4_flash"},
        "dsv4": {"deepseek_v4_pro", "deepseek_v4_flash"},
    },
}

NOT_OURS = {
    "devices": (
        "A100-PCIe-80GB", "A100-40GB", "A100", "H100-PCIe-80GB", "H20", "B100", "V100", "MI250X",
        "MI300A", "L40", "RTX 4070", "M4 Pro", "TPU v5e", "Trainium2", "Gaudi 2", "nvidia",
    ),
    "llms": (
        "Llama-3.1-70B-Nemotron", "Llama-3.2-3B", "Llama-4-Scout", "DeepSeek-V2",
        "DeepSeek-R1-Distill-Llama-70B", "DeepSeek-R1-Distill-Qwen-32B", "Qwen2-72B", "Qwen3-4B",
        "Qwen2.5-7B", "Mixtral-8x22B", "Mistral-7B", "gemma-3-27b-it", "Kimi-K2-Lite", "phi-3",
        "GLM-4.5", "nvidia", "fp8", "Q4_K_M",
    ),
}  # fmt: skip


def pairs(table):
    return [(name, wanted) for wanted, names in table.items() for name in names]


def test_every_device_and_llm_has_its_spellings():
    assert set(DEVICES) == set(CATALOG.ids("devices"))
    assert set(LLMS) == set(CATALOG.ids("llms"))


@pytest.mark.parametrize(("name", "wanted"), pairs(DEVICES))
def test_devices(name, wanted):
    assert CATALOG.find("devices", name) == wanted


@pytest.mark.parametrize(("name", "wanted"), pairs(LLMS))
def test_llms(name, wanted):
    assert CATALOG.find("llms", name) == wanted


@pytest.mark.parametrize(("name", "wanted"), pairs(RACKS))
def test_racks_come_before_the_devices_in_them(name, wanted):
    assert CATALOG.find("racks", name) == wanted


@pytest.mark.parametrize(
    ("kind", "name", "wanted"),
    [(kind, name, ids) for kind, names in AMBIGUOUS.items() for name, ids in names.items()],
)
def test_a_name_that_fits_several_is_refused_with_all_of_them(kind, name, wanted):
    with pytest.raises(SpecError, match="several") as refused:
        CATALOG.find(kind, name)
    assert set(refused.value.faults[0].cure.removeprefix("say which: ").split(", ")) == wanted


@pytest.mark.parametrize(
    ("kind", "name"), [(kind, name) for kind, names in NOT_OURS.items() for name in names]
)
def test_what_is_in_no_record_is_not_taken_for_its_neighbour(kind, name):
    with pytest.raises(SpecError) as refused:
        CATALOG.find(kind, name)
    assert "several" not in refused.value.faults[0].found


def test_show_takes_an_id_spelled_otherwise_for_itself():
    assert _path_of(CATALOG, "GB200-NVL72") == "racks.gb200_nvl72"
    assert _path_of(CATALOG, "MI355X") == "accelerators.mi355x"
