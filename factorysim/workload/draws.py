"""Draws by inverse CDF from keyed streams: few calls, whole arrays, same values in any order."""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, assert_never

import numpy as np

from factorysim.rng import KeyPart, key_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt

    from factorysim.spec.agent import Count, LognormalTokens
    from factorysim.spec.stream import ImagesSpec, LengthSpec

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


class KeyedUniforms:
    """Uniforms of many keys from one generator: `factorysim.rng.stream` at a third of its cost.

    Making a generator costs 9 us, pointing an existing one at another key 3. The
    values are those of `rng.stream` with the same key.

    Examples
    --------
    >>> from factorysim.rng import stream
    >>> uniforms = KeyedUniforms(7, 0, "code")
    >>> generator = uniforms.at("session", 3)
    >>> bool(generator.random() == stream(7, 0, "code", "session", 3).random())
    True
    """

    def __init__(self, seed: int, *parts: KeyPart) -> None:
        self._seed = seed
        self._parts = parts
        self._bits = np.random.Philox(key=0)
        self._generator = np.random.Generator(self._bits)
        self._state = self._bits.state

    def at(self, *parts: KeyPart) -> np.random.Generator:
        """Return the generator of one key; it is the same object at every call."""
        key = key_bytes(self._seed, *self._parts, *parts)
        words = self._state["state"]
        words["key"] = np.frombuffer(key, dtype="<u8").astype(np.uint64)
        self._bits.state = self._state
        return self._generator


def packed(whole: list[int]) -> array[int]:
    """Keep whole numbers of at least 0 in the fewest bytes that hold them all.

    Reading one takes 50 ns, twice as long as from a list but half of an array of
    NumPy's.

    Examples
    --------
    >>> packed([3, 255]), packed([3, 256])
    (array('B', [3, 255]), array('H', [3, 256]))
    """
    most = max(whole, default=0)
    return array("B" if most < 1 << 8 else "H" if most < 1 << 16 else "Q", whole)


def count_table(spec: Count, factor: float = 1.0) -> Floats:
    """CDF at 1, 2, .. of a `Count` whose mean is `factor` times the spec's.

    Parameters
    ----------
    factor
        On the mean; a mean below 1 becomes 1.

    Raises
    ------
    ValueError
        If no law of that shape within 1..max has this mean.

    Examples
    --------
    >>> from factorysim.spec.agent import Count
    >>> spec = Count(mean=4.0, sigma=1.0, max=100, kind="assumed", source="us")
    >>> round(table_mean(count_table(spec, 1.5)), 9)
    6.0
    """
    mean = max(spec.mean * factor, 1.0)
    if mean > spec.max / 2:
        raise ValueError(f"a mean of {mean:g} with at most {spec.max}")
    if spec.shape == "geometric":
        return _solve(lambda p: _geometric_cdf(p, spec.max), mean, low=1.0, high=1e-9)
    sigma, most = spec.sigma, spec.max
    low, high = -40.0 * sigma - 1.0, float(np.log(most)) + 10.0 * sigma
    return _solve(lambda mu: _rounded_lognormal_cdf(mu, sigma, most), mean, low, high)


def _solve(cdf: Callable[[float], Floats], mean: float, low: float, high: float) -> Floats:
    """Bisect the parameter, along which the mean grows from `low` to `high`."""
    for _ in range(200):
        middle = 0.5 * (low + high)
        if table_mean(cdf(middle)) < mean:
            low = middle
        else:
            high = middle
    return cdf(0.5 * (low + high))


def _geometric_cdf(p: float, most: int) -> Floats:
    cdf = 1.0 - (1.0 - p) ** np.arange(1, most + 1, dtype=np.float64)
    return _closed(cdf)


def _rounded_lognormal_cdf(mu: float, sigma: float, most: int) -> Floats:
    from scipy.special import ndtr

    edges = np.log(np.arange(1, most + 1) + 0.5)
    return _closed(ndtr((edges - mu) / sigma))


def _closed(cdf: Floats) -> Floats:
    """Put what lies beyond the end on the last value."""
    cdf[-1] = 1.0
    return cdf


def table_mean(cdf: Floats) -> float:
    """Mean of a count on 1, 2, .. from its CDF: the sum of its survival function."""
    return float(len(cdf) - cdf[:-1].sum())


def draw_counts(cdf: Floats, uniforms: Floats) -> Ints:
    """Draw counts of at least 1 by inverse CDF."""
    return cdf.searchsorted(uniforms, side="right") + 1


def lognormal_tokens(spec: LognormalTokens, normals: Floats, factor: float = 1.0) -> list[int]:
    """Tokens, rounded and cut to 1..max, from standard normals; `factor` on the median."""
    tokens = np.exp(np.log(spec.p50 * factor) + spec.sigma * normals)
    return whole_tokens(tokens, spec.max)


def whole_tokens(tokens: Floats, most: int) -> list[int]:
    """Round to whole tokens within 1..most, halves to even."""
    whole: list[int] = np.rint(np.clip(tokens, 1, most)).astype(np.int64).tolist()
    return whole


def lengths(spec: LengthSpec, uniforms: Floats) -> list[int]:
    """Tokens of a `LengthSpec` by inverse CDF, at least 1 and at most 1e8.

    Examples
    --------
    >>> from factorysim.spec.stream import LengthSpec
    >>> lengths(LengthSpec(kind="uniform", mean=100, spread=0.5), np.array([0.0, 0.5]))
    [50, 100]
    """
    match spec.kind:
        case "fixed":
            tokens = np.full(len(uniforms), spec.mean)
        case "uniform":
            tokens = spec.mean * (1.0 + spec.spread * (2.0 * uniforms - 1.0))
        case "lognormal":
            from scipy.special import ndtri

            tokens = spec.mean * np.exp(spec.spread * ndtri(uniforms))
        case _:
            assert_never(spec.kind)
    return whole_tokens(tokens, 100_000_000)


def image_tokens(spec: ImagesSpec, uniforms: Floats) -> list[int]:
    """Tokens of the new images of calls, 0 where there are none, from two uniforms a call.

    Examples
    --------
    >>> from factorysim.spec.stream import ImagesSpec, LengthSpec
    >>> spec = ImagesSpec(share="50 %", count=LengthSpec(mean=2), tokens=300)
    >>> image_tokens(spec, np.array([[0.1, 0.5], [0.9, 0.5]]))
    [600, 0]
    """
    counts = lengths(spec.count, uniforms[:, 1])
    brings: list[bool] = (uniforms[:, 0] < spec.share).tolist()
    return [
        count * spec.tokens if there else 0 for count, there in zip(counts, brings, strict=True)
    ]
