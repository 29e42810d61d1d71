"""What tool calls cost: durations, cores, memory and answers of every class."""

from __future__ import annotations

from array import array
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.spec.agent import ToolsSpec
from factorysim.workload.draws import packed
from factorysim.workload.files import CATALOG, read_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy.typing as npt

    from factorysim.spec.agent import ToolClassSpec

    Floats = npt.NDArray[np.float64]
    Ints = npt.NDArray[np.int64]


@cache
def load_tools() -> ToolsSpec:
    """Read the shipped tool classes.

    Examples
    --------
    >>> load_tools().tools["shell"].duration.p50
    0.85
    """
    return read_spec(CATALOG / "tools.yaml", ToolsSpec)


class ToolDraws(NamedTuple):
    """Tool calls as columns of equal length, in as few bytes as their numbers take."""

    cls: array[int]
    """Index into the table's classes."""
    cpu_s: array[float]
    remote_ns: array[int]
    result_tokens: array[int]


class ToolTable:
    """The parameters of some classes as arrays, to draw many calls at once."""

    def __init__(self, names: Sequence[str], classes: Sequence[ToolClassSpec]) -> None:
        self.names = tuple(names)
        self.cores = [c.work.cores for c in classes]
        self.memory_bytes = [c.work.memory for c in classes]
        self._mu = np.log([c.duration.p50 for c in classes])
        self._sigma = np.array([c.duration.sigma for c in classes])
        self._max = np.array([c.duration.max for c in classes])
        self._remote = np.array([c.work.remote_share for c in classes])
        self._core_share = (1.0 - self._remote) * np.array(self.cores)
        self._token_mu = np.log([c.result_tokens.p50 for c in classes])
        self._token_sigma = np.array([c.result_tokens.sigma for c in classes])
        self._token_max = np.array([float(c.result_tokens.max) for c in classes])
        tails = [(i, c.tail) for i, c in enumerate(classes) if c.tail is not None]
        self._tail_share = np.zeros(len(classes))
        self._tail = np.ones((len(classes), 3))
        for i, tail in tails:
            self._tail_share[i] = tail.share
            self._tail[i] = tail.low, tail.high, tail.alpha

    def durations(self, cls: Ints, normals: Floats, tail: Floats) -> Floats:
        """Seconds that calls last on an idle reference host.

        Parameters
        ----------
        cls
            Class of each call.
        normals
            Standard normals, for the body.
        tail
            Uniforms that decide between body and tail; below the tail's share
            they also say where in the tail, so that one draw serves both.
        """
        seconds = np.exp(self._mu[cls] + self._sigma[cls] * normals)
        np.minimum(seconds, self._max[cls], out=seconds)
        (hits,) = np.nonzero(tail < self._tail_share[cls])
        if len(hits):
            chosen = cls[hits]
            low, high, alpha = self._tail[chosen].T
            v = tail[hits] / self._tail_share[chosen]
            seconds[hits] = low * (1.0 - v * (1.0 - (low / high) ** alpha)) ** (-1.0 / alpha)
        return seconds

    def draw(self, cls: Ints, normals: Floats, tail: Floats, token_normals: Floats) -> ToolDraws:
        """Draw calls of given classes.

        A call of duration d waits ``remote_share * d`` for a service and needs
        ``(1 - remote_share) * d * cores`` core-seconds of the reference core.
        """
        seconds = self.durations(cls, normals, tail)
        remote = np.rint(seconds * self._remote[cls] * 1e9).astype(np.int64)
        cpu = seconds * self._core_share[cls]
        tokens = np.exp(self._token_mu[cls] + self._token_sigma[cls] * token_normals)
        whole = np.rint(np.clip(tokens, 1.0, self._token_max[cls])).astype(np.int64)
        return ToolDraws(
            packed(cls.tolist()),
            array("d", cpu.tobytes()),
            packed(remote.tolist()),
            packed(whole.tolist()),
        )
