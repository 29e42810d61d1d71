"""Reading a ``vllm serve`` command line: what it says of a deployment. Nothing is executed."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.load.json_file import parse_json
from factorysim.load.vllm_flags import FLAGS, REFUSED, SHORT, Flag
from factorysim.marked import printable, shown
from factorysim.spec.shape import nearest

WHERE = "vllm serve"
MOST = 100_000
"""Characters of a command line."""
_SHELL = frozenset("();<>|&")
_LIKE = "like `vllm serve MODEL --tensor-parallel-size 4`"
_SCALES = {"k": 10**3, "K": 2**10, "m": 10**6, "M": 2**20, "g": 10**9, "G": 2**30}
"""Endings that vLLM takes: decimal in small letters, binary in capitals."""
_SWITCHES = {"true": True, "false": False, "1": True, "0": False}
_COUNT_MOST = 10**9


class ServeCommand(NamedTuple):
    """What a command line says."""

    model: str
    counts: Mapping[str, int]
    words: Mapping[str, str]
    switches: Mapping[str, bool]
    memory_share: float | None
    speculation: Mapping[str, object] | None
    ignored: tuple[str, ...]
    """Flags and variables that change nothing which is simulated."""
    unmodelled: tuple[str, ...]
    """Flags that would change it, with what they do."""
    unknown: tuple[str, ...]


def read_command(text: str, *, skip_unknown: bool = False) -> ServeCommand:
    r"""Read a command line as a shell would split it, without running anything.

    Parameters
    ----------
    skip_unknown
        List flags that are not known, instead of refusing them.

    Raises
    ------
    SpecError
        With every fault: shell syntax, no model, flags that are unknown, values of another kind.

    Examples
    --------
    >>> told = read_command("vllm serve Qwen/Qwen3-8B -tp 2 \\\n  --max-model-len=32k --port 80")
    >>> told.model, dict(told.counts), told.ignored
    ('Qwen/Qwen3-8B', {'tensor-parallel-size': 2, 'max-model-len': 32000}, ('--port',))
    """
    reader = _Reader(_split(text), skip_unknown)
    return reader.read()


def _split(text: str) -> list[str]:
    if len(text) > MOST:
        raise SpecError(Fault(WHERE, "", f"{len(text):,} characters", f"at most {MOST:,}"))
    lexer = shlex.shlex(re.sub(r"\\\r?\n", " ", text), posix=True, punctuation_chars=True)
    lexer.whitespace_split, lexer.commenters = True, ""
    try:
        words = list(lexer)
    except ValueError as error:
        found = f"a broken command line ({error})"
        raise SpecError(Fault(WHERE, "", found, "closed quotes")) from None
    for word in words:
        if word and set(word) <= _SHELL:
            cure = "give the command of the server alone; nothing is run by a shell here"
            raise SpecError(Fault(WHERE, "", f"the shell's `{word}`", "one command", cure))
    return words


class _Reader:
    """Walks over the words of a command, and gathers faults on the way."""

    def __init__(self, words: list[str], skip_unknown: bool) -> None:
        self._words = words
        self._skip = skip_unknown
        self._faults: list[Fault] = []
        self._counts: dict[str, int] = {}
        self._told: dict[str, str] = {}
        self._switches: dict[str, bool] = {}
        self._maps: dict[str, dict[str, object]] = {}
        self._share: float | None = None
        self._ignored: list[str] = []
        self._unmodelled: list[str] = []
        self._unknown: list[str] = []
        self._model: list[str] = []

    def read(self) -> ServeCommand:
        at = self._start()
        while at < len(self._words):
            word = self._words[at]
            at += 1
            if word.startswith("-") and len(word) > 1:
                at = self._flag(word, at)
            else:
                self._model.append(word)
        models = [*self._model, *([self._told["model"]] if "model" in self._told else [])]
        if len(models) != 1:
            found = "none" if not models else ", ".join(shown(model) for model in models[:5])
            self._fault("", f"models: {found}", "one model", _LIKE)
        if self._faults:
            raise SpecError(*self._faults)
        return ServeCommand(
            models[0], self._counts, self._told, self._switches, self._share,
            self._maps.get("speculative-config"),
            tuple(self._ignored), tuple(self._unmodelled), tuple(self._unknown),
        )  # fmt: skip

    def _start(self) -> int:
        """Pass over variables and the program's own name."""
        at = 0
        while at < len(self._words) and re.match(r"[A-Za-z_]\w*=", self._words[at]):
            self._ignored.append(printable(self._words[at].partition("=")[0]))
            at += 1
        rest = self._words[at : at + 4]
        program = rest[0].rsplit("/", 1)[-1] if rest else ""
        if program == "vllm" and rest[1:2] == ["serve"]:
            return at + 2
        if re.fullmatch(r"python[\d.]*", program) and rest[1:3] == [
            "-m", "vllm.entrypoints.openai.api_server",
        ]:  # fmt: skip
            return at + 3
        found = shown(" ".join(rest)) if rest else "nothing"
        raise SpecError(Fault(WHERE, "", found, "`vllm serve MODEL ...`", _LIKE))

    def _flag(self, word: str, at: int) -> int:
        """Read a flag and what follows it; tell where the next one is."""
        written, equals, attached = word.partition("=")
        name, _, inner = _name(written).partition(".")
        negated = name.startswith("no-") and name not in FLAGS and name[3:] in FLAGS
        flag = FLAGS.get(name[3:] if negated else name)
        name = name[3:] if negated else name
        values, after = ([attached], at) if equals else self._values(flag, at)
        if name in REFUSED:
            self._fault(written, "a file", "no other file", REFUSED[name])
        elif flag is None:
            self._not_known(written, name)
        elif negated and flag.takes != "switch":
            self._fault(written, "a flag that cannot be switched off", f"--{name} and its value")
        elif flag.use == "none":
            self._ignored.append(written)
        elif flag.use == "unmodelled":
            self._unmodelled.append(f"{written}: {flag.why}")
        elif flag.takes == "switch":
            self._switch(name, written, values, negated)
        elif not values:
            self._fault(written, "nothing", "a value after it")
        else:
            self._take(flag, name, inner, written, values[0])
        return after

    def _values(self, flag: Flag | None, at: int) -> tuple[list[str], int]:
        """Take the words that belong to a flag."""
        end = at
        while end < len(self._words) and not re.match(r"-[^\d.]", self._words[end]):
            end += 1
        follow = self._words[at:end]
        if flag is not None and flag.takes == "switch":
            follow = follow[:1] if follow and follow[0].lower() in ("true", "false") else []
        elif flag is None or flag.takes != "words":
            follow = follow[:1]
        return follow, at + len(follow)

    def _not_known(self, written: str, name: str) -> None:
        if self._skip:
            self._unknown.append(printable(written))
            return
        guess = nearest(name, tuple(FLAGS))
        cure = f"{guess} --skip-unknown lists it, and goes on".strip()
        self._fault(written, "an unknown flag", "a flag of vllm serve", cure)

    def _switch(self, name: str, written: str, values: list[str], negated: bool) -> None:
        value = _SWITCHES.get(values[0].lower()) if values else True
        if value is None:
            self._fault(written, shown(values[0]), "true or false")
        else:
            self._switches[name] = value != negated

    def _take(self, flag: Flag, name: str, inner: str, written: str, value: str) -> None:
        if flag.takes == "count":
            self._count(name, written, value)
        elif flag.takes == "share":
            self._memory(written, value)
        elif flag.takes == "map":
            self._map(name, inner, written, value)
        else:
            self._told[name] = value

    def _count(self, name: str, written: str, value: str) -> None:
        if name == "max-model-len" and value in ("auto", "-1"):
            return
        found = re.fullmatch(r"(\d{1,12}(?:\.\d{1,6})?)([kKmMgG]?)", value)
        number = float(found[1]) * _SCALES.get(found[2], 1) if found else 0.0
        if not number.is_integer() or not 1 <= number <= _COUNT_MOST:
            expected = f"a whole number from 1 to {_COUNT_MOST:,}, such as 8192 or 8k"
            self._fault(written, shown(value), expected)
        else:
            self._counts[name] = int(number)

    def _memory(self, written: str, value: str) -> None:
        found = re.fullmatch(r"\d?\.\d{1,12}|1(?:\.0*)?", value)
        if found is None or not 0.0 < float(value) <= 1.0:
            self._fault(written, shown(value), "a share above 0 and at most 1, such as 0.9")
        else:
            self._share = float(value)

    def _map(self, name: str, inner: str, written: str, value: str) -> None:
        """Read JSON; or, of `--flag.key value`, one of its keys."""
        if inner:
            number = re.fullmatch(r"\d{1,12}", value)
            self._maps.setdefault(name, {})[inner] = int(value) if number else value
            return
        try:
            told = parse_json(value, WHERE)
        except SpecError as error:
            self._faults += [fault._replace(key=written) for fault in error.faults]
            return
        if not isinstance(told, dict):
            self._fault(written, shown(told), "JSON with keys and values")
            return
        self._maps.setdefault(name, {}).update(told)

    def _fault(self, flag: str, found: str, expected: str, cure: str = "") -> None:
        self._faults.append(Fault(WHERE, printable(flag)[:80], found, expected, cure))


def _name(written: str) -> str:
    """Name a flag as vLLM's help does: long, with hyphens; its keys after a point as they are."""
    if written in SHORT:
        return SHORT[written]
    if re.fullmatch(r"-O\d", written):
        return "optimization-level"
    flag, point, inner = written.lstrip("-").partition(".")
    return flag.replace("_", "-") + point + inner
