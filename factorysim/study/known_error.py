"""How far predictions were found to be off, by kind of device."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from factorysim.catalog import Device

_FITTED = {
    "hopper": (
        "61 published points of H100 and H200 (vLLM, SGLang, TensorRT-LLM), simulated: TPOT is off "
        "by 6.5 % in the median and by up to 26 % in 90 % of them; where KV capacity binds, by up "
        "to 15 %. Mean TTFT is half of the published mean in the median (a tenth to twice), which "
        "includes the burst of the start; where KV capacity binds, 0.9 to 1.5 of it."
    ),
    "ampere": (
        "A100 kernels: median error 8 % dense products, 31 % experts, 16-18 % attention of "
        "prompts; 1 % (at most 12 %) a layer of CodeLlama-34B. No published serving under load "
        "was compared; static runs of an eager engine of 2023 (A100 and H100), which its host "
        "bounds, take longer than predicted: predictions are 42 % (decodes) and 33 % (prompts) low."
    ),
    "ada": (
        "L40S kernels: fitted on dense products, median error 17-19 % of experts. No published "
        "serving under load was compared. All-reduce over four or more cards is much slower than "
        "predicted."
    ),
    "apple": (
        "Factors fitted on published llama.cpp rates of one sequence; nothing was kept apart to "
        "test them, and no serving of several sequences was compared."
    ),
}
_CPU = (
    "Factors of CPUs are assumed, from few llama.cpp rates: no kernel table and no serving was "
    "compared, so how far off they are is unknown; the bands of the assumed facts are wide."
)
_NVIDIA = (
    "Nothing was measured on this generation. Its factors are the shape of earlier NVIDIA kernels "
    "on this data sheet: leaving one part out of such a fit adds 10-20 % of error to what H100 has "
    "(median 6.5 % of TPOT under load)."
)
_OTHER = (
    "Nothing was measured on this kind of device. Its factors are the shape of NVIDIA kernels on "
    "this data sheet: leaving one part out of such a fit adds 25-50 % of error to what H100 has "
    "(median 6.5 % of TPOT under load)."
)


def known_error(device: Device) -> str:
    """Say how far step times were off on such a device, or on what the guess rests.

    Of kernels the numbers are those of docs/physics.md, section "Measured error"; of
    whole points, those of tests/validation/test_published_points.py.

    Examples
    --------
    >>> from factorysim.catalog import load_catalog
    >>> known_error(load_catalog().device("rubin_gpu"))[:39]
    'Nothing was measured on this generation'
    """
    if device.generation in _FITTED:
        return _FITTED[device.generation]
    if device.kind == "cpu":
        return _CPU
    return _NVIDIA if device.vendor == "NVIDIA" else _OTHER
