"""Finding a record by its id, an alias or a usual spelling of it.

Case and punctuation do not count, nor does the owner before a slash, nor
words that only tell a vendor, a format or a tuning: ``meta-llama/Llama-3.1-70B-Instruct-FP8``
is `llama_3_1_70b`. An alias written just so goes first: ``llama70b`` is the one LLM
that a benchmark calls so, while ``Llama-70B`` fits several. Nothing else is guessed: a
name that fits two records is refused, one that fits none gets a suggestion.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping

_IDLE_WORDS = frozenset(
    (
        *("instruct", "chat", "it", "hf", "base", "kv"),
        *("fp32", "fp16", "bf16", "fp8", "fp4", "nvfp4", "mxfp4", "mxfp8", "int8", "int4"),
        *("w4a16", "w8a8", "w8a16", "awq", "gptq", "gguf", "4bit", "8bit", "mlx", "bnb"),
        *("quantized", "quantized.w4a16", "quantized.w8a8", "quantized.w8a16", "dynamic"),
        *("nvidia", "amd", "intel", "instinct", "geforce", "oam", "hbm2e", "hbm3", "hbm3e"),
    )
)
"""Words of a name that leave the record as it is."""
_GGUF = re.compile(r"[-_. ](?:i?q\d(?:_[k01](?:_(?:xs|s|m|l|xl))?)?|ud)$")
"""Ends of the names of llama.cpp's files, such as ``-Q4_K_M``."""


def fold(name: str) -> str:
    """Name without case and punctuation.

    Examples
    --------
    >>> fold("H100-SXM 80GB")
    'h100sxm80gb'
    """
    return re.sub(r"[^a-z0-9]", "", name.lower())


def spellings(name: str) -> tuple[str, ...]:
    """Folded forms under which to look a name up, the closest first.

    Examples
    --------
    >>> spellings("mistralai/Mistral-Small-4-FP8")
    ('mistralaimistralsmall4fp8', 'mistralsmall4fp8', 'mistralsmall4')
    """
    own = re.sub(r"^[\w.-]+/", "", name)
    plain = _GGUF.sub("", own.lower())
    words = [word for word in re.split(r"[\s_-]+", plain) if word not in _IDLE_WORDS]
    return tuple(dict.fromkeys(filter(None, (fold(name), fold(own), fold("".join(words))))))


class NameIndex:
    """Folded spellings of the records of one kind."""

    def __init__(self, names: Mapping[str, Iterable[str]]) -> None:
        """Take the aliases of each id."""
        self._ids: dict[str, set[str]] = defaultdict(set)
        self._exact: dict[str, set[str]] = defaultdict(set)
        for identity, aliases in names.items():
            for name in (identity, *aliases):
                self._exact[name].add(identity)
                for spelling in spellings(name):
                    self._ids[spelling].add(identity)
        # An id always means itself, even where it is also somebody's alias.
        for identity in names:
            self._ids[fold(identity)] = {identity}

    def lookup(self, name: str) -> tuple[str, ...]:
        """Ids that a name can mean: one if it is known, several if ambiguous, or none."""
        if name in self._exact:
            return tuple(sorted(self._exact[name]))
        for spelling in spellings(name):
            if spelling in self._ids:
                return tuple(sorted(self._ids[spelling]))
        return ()

    def suggest(self, name: str) -> str | None:
        """Id whose spelling is nearest, if any is near."""
        from difflib import get_close_matches

        for spelling in spellings(name):
            near = get_close_matches(spelling, self._ids, n=1, cutoff=0.7)
            if near:
                return min(self._ids[near[0]])
        return None
