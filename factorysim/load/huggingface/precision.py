"""In which format a published checkpoint holds its weights, from its config."""

from __future__ import annotations

from typing import TYPE_CHECKING

from factorysim.marked import shown

if TYPE_CHECKING:
    from factorysim.load.huggingface.config import Config

_TYPES = {
    "bfloat16": "bf16",
    "float16": "fp16",
    "float32": "fp32",
    "float8_e4m3fn": "fp8",
}
_METHODS = {
    "fp8": "fp8",
    "fbgemm_fp8": "fp8",
    "mxfp4": "mxfp4",
    "awq": "int4",
    "auto-round": "int4",
}
"""`quant_method` -> format, where the word alone tells."""
_ALGORITHMS = {"FP8": "fp8", "NVFP4": "nvfp4", "W4A16_AWQ": "int4", "MXFP4": "mxfp4"}
"""`quant_algo` of ModelOpt."""
_WIDTHS = {
    ("float", 8): "fp8",
    ("float", 4): "nvfp4",
    ("int", 8): "int8",
    ("int", 4): "int4",
}
"""Type and bits of the weights in compressed-tensors."""


def native_precision(whole: Config, text: Config) -> tuple[str, str]:
    """Tell the format of the checkpoint, and from which key; both empty if it is not told.

    What is quantised need not be all: the catalog's formats tell which parts each covers.
    """
    for config in (whole, text):
        quantised = config.child("quantization_config")
        if quantised is not None:
            return _quantised(quantised), "quantization_config"
    for config in (text, whole):
        for key in ("torch_dtype", "dtype"):
            word = config.text(key).removeprefix("torch.")
            if word and word not in _TYPES:
                config.fault(key, shown(word), f"one of {', '.join(_TYPES)}")
            if word:
                return _TYPES.get(word, ""), key
    return "", ""


def _quantised(config: Config) -> str:
    method = config.text("quant_method").lower()
    if method == "modelopt" or (not method and config.raw("quant_algo") is not None):
        return _named(config, "quant_algo", _ALGORITHMS, config.text("quant_algo").upper())
    if method == "compressed-tensors":
        return _compressed(config)
    if method in ("gptq", "bitsandbytes"):
        return _by_bits(config, method)
    return _named(config, "quant_method", _METHODS, method)


def _by_bits(config: Config, method: str) -> str:
    if method == "bitsandbytes":
        return "int4" if config.flag("load_in_4bit")[0] else "int8"
    bits = config.need("bits", least=2, most=8).value
    return _named(config, "bits", {"4": "int4", "8": "int8"}, str(bits))


def _compressed(config: Config) -> str:
    """Read the weights of the first group; the others are rarely there."""
    groups = config.child("config_groups")
    names = () if groups is None else tuple(groups.keys())
    group = groups.child(names[0]) if groups is not None and names else None
    weights = None if group is None else group.child("weights")
    if weights is None:
        config.fault("config_groups", "no weights", "a group with `weights`")
        return ""
    pair = (weights.text("type"), weights.need("num_bits", most=32).value)
    if pair == ("float", 4) and "mxfp4" in config.text("format"):
        return "mxfp4"
    told = {f"{kind} of {bits} bits": word for (kind, bits), word in _WIDTHS.items()}
    return _named(weights, "num_bits", told, f"{pair[0]} of {pair[1]} bits")


def _named(config: Config, key: str, names: dict[str, str], found: str) -> str:
    if found not in names:
        cure = "remove `quantization_config` to import the shapes, and give runs their precision"
        config.fault(key, shown(found), f"one of {', '.join(names)}", cure)
    return names.get(found, "")
