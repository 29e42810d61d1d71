"""``factorysim catalog``: what the catalog says, how sure it is, and who says so."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TypeAlias, cast, get_args

import typer

from factorysim.errors import Fault, SpecError, UserError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from factorysim.catalog import Catalog, Fact

Listed: TypeAlias = Literal[
    "accelerators", "cpus", "network", "racks", "llms", "sites", "runtimes", "engines"
]

app = typer.Typer(help="The facts: devices, LLMs, racks, networks, sites.", no_args_is_help=True)

_COLUMNS: dict[str, tuple[tuple[str, float, tuple[str, ...]], ...]] = {
    "accelerators": (
        ("GB", 1e9, ("memory_bytes",)),
        ("TB/s", 1e12, ("memory_bandwidth",)),
        ("BF16 TF/s", 1e12, ("flops.bf16",)),
        ("FP8 TF/s", 1e12, ("flops.fp8",)),
        ("TDP W", 1.0, ("tdp",)),
    ),
    "cpus": (
        ("cores", 1.0, ("cores",)),
        ("GB", 1e9, ("memory_bytes",)),
        ("GB/s", 1e9, ("memory_bandwidth",)),
        ("BF16 TF/s", 1e12, ("flops.bf16",)),
        ("TDP W", 1.0, ("tdp", "power")),
    ),
    "network": (
        ("ports", 1.0, ("ports",)),
        ("GB/s", 1e9, ("bandwidth", "bandwidth_per_direction", "network")),
        ("hop ns", 1e-9, ("latency_per_hop", "hop_latency")),
        ("W", 1.0, ("power",)),
    ),
    "racks": (
        ("devices", 1.0, ("gpus", "lpus", "accelerators", "cpus", "switches")),
        ("domain", 1.0, ("scale_up_domain",)),
        ("kW", 1e3, ("power",)),
        ("kUSD", 1e3, ("price",)),
    ),
    "llms": (
        ("params e9", 1e9, ("total_params",)),
        ("active e9", 1e9, ("active_params",)),
        ("layers", 1.0, ("layers",)),
        ("experts", 1.0, ("ffn.experts",)),
        ("KV kB/tok", 1e3, ("attention.kv_bytes_per_token_bf16",)),
        ("ctx ktok", 1e3, ("context_length",)),
    ),
    "sites": (
        ("price/kWh", 1.0, ("energy_price",)),
        ("g/kWh", 1.0, ("carbon_intensity",)),
        ("PUE", 1.0, ("pue",)),
    ),
    "runtimes": (
        ("sandbox MB", 1e6, ("sandbox_memory",)),
        ("tool check ms", 1e-3, ("tool_check_cpu_s",)),
        ("LLM check ms", 1e-3, ("llm_check_cpu_s",)),
        ("gateway ms", 1e-3, ("gateway_s",)),
    ),
}
"""Of each list: heading, unit, and the facts of which the first known one is shown."""

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "K"), (1.0, ""))
_SMALL = ((1.0, ""), (1e-3, "m"), (1e-6, "u"), (1e-9, "n"))
_PREFIXED = frozenset({"B", "B/s", "FLOP/s", "op/s", "W", "s", "Hz"})

JsonFlag = Annotated[bool, typer.Option("--json", help="Print JSON.")]
OverlayOption = Annotated[
    Path | None,
    typer.Option("--catalog", help="A file of facts of your own, over the shipped ones."),
]


@app.command("list")
def list_records(
    kind: Annotated[
        str | None, typer.Argument(help=f"One of {', '.join(get_args(Listed))}.")
    ] = None,
    overlay: OverlayOption = None,
    as_json: JsonFlag = False,
) -> None:
    """List the records of one kind, or count those of every kind."""
    from factorysim.catalog import load_catalog

    catalog = load_catalog(overlay)
    if kind is None:
        _print_kinds(catalog, as_json=as_json)
        return
    listed = _known_kind(kind)
    if as_json:
        _print_json([_record_json(catalog, listed, name) for name in catalog.ids(listed)])
        return
    _print(_list_table(catalog, listed))
    print("~ assumed   ? unknown   `factorysim catalog show ID` tells bands and sources")


@app.command("show")
def show_record(
    name: Annotated[str, typer.Argument(help="An id, an alias, or the path of a fact.")],
    overlay: OverlayOption = None,
    as_json: JsonFlag = False,
) -> None:
    """Show a record: every fact with its band, kind and source."""
    from factorysim.catalog import load_catalog

    catalog = load_catalog(overlay)
    path = _path_of(catalog, name)
    facts = [fact for key, fact in catalog.facts.items() if f"{key}.".startswith(f"{path}.")]
    if as_json:
        _print_json(_path_json(catalog, path, facts))
        return
    _print_heading(catalog, path)
    numbers = _source_numbers(facts)
    _print(_fact_table(path, facts, numbers))
    _print_notes(path, facts, numbers)
    _print_sources(catalog, numbers)


def _known_kind(kind: str) -> Listed:
    kinds = get_args(Listed)
    if kind not in kinds:
        from difflib import get_close_matches

        near = get_close_matches(kind, kinds, n=1)
        cure = f'did you mean "{near[0]}"?' if near else ""
        raise SpecError(
            Fault("catalog list", "KIND", f'"{kind}"', f"one of {', '.join(kinds)}", cure)
        )
    return cast("Listed", kind)


def _path_of(catalog: Catalog, name: str) -> str:
    """Path of what is asked for: a fact, a part of a section, or a record by any name."""
    from factorysim.catalog.names import fold

    if any(f"{key}.".startswith(f"{name}.") for key in catalog.facts):
        return name
    kinds: Sequence[Listed] = get_args(Listed)[:-1]
    for kind in kinds:
        if name in catalog.ids(kind):
            return f"{kind}.{name}"
    spelled = [f"{k}.{own}" for k in kinds for own in catalog.ids(k) if fold(own) == fold(name)]
    if len(spelled) == 1:
        return spelled[0]
    found: list[str] = []
    faults: list[Fault] = []
    for kind in kinds:
        try:
            identity = catalog.find(kind, name)
            # A device is also a server of one, yet no rack of the files.
            found += [f"{kind}.{identity}"] if identity in catalog.ids(kind) else []
        except UserError as error:
            faults += [fault for fault in error.faults if "several" in fault.found]
    if len(found) == 1 and not faults:
        return found[0]
    if faults or found:
        raise SpecError(*faults, *(_ambiguous(name, path) for path in found))
    near = [catalog.suggest(kind, name) for kind in kinds]
    cures = [f'"{kind}.{guess}"' for kind, guess in zip(kinds, near, strict=True) if guess]
    cure = f"did you mean {' or '.join(cures)}? " if cures else ""
    cure += "`factorysim catalog list` tells the kinds"
    raise SpecError(Fault("catalog show", "ID", f'"{name}"', "a record or a fact", cure))


def _ambiguous(name: str, path: str) -> Fault:
    cure = f"`factorysim catalog show {path}` shows it"
    return Fault("catalog show", "ID", f'"{name}", which can be {path}', "one record", cure)


def _list_table(catalog: Catalog, kind: Listed) -> Table:
    """Lay out one row a record; only the name gives way where the terminal is narrow."""
    from rich.cells import cell_len, set_cell_size

    columns = _COLUMNS.get(kind, ())
    headings = ("id", *(heading for heading, _, _ in columns))
    rows = [
        (name, *(_first_known(catalog, f"{kind}.{name}", f, keys) for _, f, keys in columns))
        for name in catalog.ids(kind)
    ]
    widths = [
        max(cell_len(text) for text in (*heading.split(), *cells))
        for heading, cells in zip(headings, zip(*rows, strict=True), strict=True)
    ]
    room = max(8, _console().width - sum(widths) - 2 * len(widths))
    table = _table(*(heading.replace(" ", "\n") for heading in headings), "name")
    for row in rows:
        title = _clean(_words(catalog, f"{kind}.{row[0]}").get("name", "") if columns else "")
        short = title if cell_len(title) <= room else set_cell_size(title, room - 1) + "…"
        table.add_row(*row, short)
    return table


def _first_known(catalog: Catalog, path: str, factor: float, keys: Iterable[str]) -> str:
    facts = [catalog.facts[f"{path}.{key}"] for key in keys if f"{path}.{key}" in catalog.facts]
    for fact in facts:
        if isinstance(fact.value, int | float):
            mark = "~" if fact.kind == "assumed" else ""
            return f"{mark}{_digits(fact.value / factor)}"
    unknown = any(fact.kind == "unknown" for fact in facts)
    return "?" if unknown else "-"


def _fact_table(path: str, facts: Sequence[Fact], numbers: Mapping[str, int]) -> Table:
    """Lay out the facts below a path, indented by their keys."""
    table = _table("fact", "value", "10..90 %", "kind", "source")
    shown: tuple[str, ...] = ()
    for fact in facts:
        *outer, last = _inner(path, fact.id).split(".")
        for depth, key in enumerate(outer):
            if shown[: depth + 1] != tuple(outer[: depth + 1]):
                table.add_row(f"{'  ' * depth}{key}")
        shown = tuple(outer)
        factor, unit = _scale(fact.value, fact.unit)
        table.add_row(
            f"{'  ' * len(outer)}{last}",
            _quantity(fact.value, factor, unit),
            _band(fact, factor),
            fact.kind.replace("_", " "),
            " ".join(str(numbers[name]) for name in fact.source),
        )
    return table


def _table(*headings: str) -> Table:
    """Build a plain table: numbers to the right, words to the left; only kinds may wrap."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        words = heading in ("id", "name", "fact", "kind", "source")
        side: Literal["left", "right"] = "left" if words else "right"
        table.add_column(heading, justify=side, no_wrap=heading != "kind")
    return table


def _inner(path: str, fact: str) -> str:
    return fact.removeprefix(f"{path}.") if fact != path else fact.rsplit(".", 1)[-1]


def _band(fact: Fact, factor: float) -> str:
    """Write the band in the unit of the value."""
    if fact.low is None or fact.high is None or fact.low == fact.high:
        return ""
    return f"{_digits(fact.low / factor)}..{_digits(fact.high / factor)}"


def _print_kinds(catalog: Catalog, *, as_json: bool) -> None:
    counts = {kind: catalog.ids(kind) for kind in get_args(Listed)}
    if as_json:
        _print_json({kind: list(ids) for kind, ids in counts.items()})
        return
    table = _table("kind", "records", "facts", "assumed", "unknown")
    for kind, ids in counts.items():
        section = "efficiency" if kind == "engines" else kind
        facts = [fact for key, fact in catalog.facts.items() if key.startswith(f"{section}.")]
        kinds = [sum(fact.kind == wanted for fact in facts) for wanted in ("assumed", "unknown")]
        table.add_row(kind, str(len(ids)), str(len(facts)), *map(str, kinds))
    _print(table)


def _print_heading(catalog: Catalog, path: str) -> None:
    words = _words(catalog, path)
    title = words.pop("name", None)
    print(f"{_clean(title)}  ({path})" if title else path)
    _print_indented([f"{key}: {value}" for key, value in words.items()])
    print()


def _words(catalog: Catalog, path: str) -> dict[str, str]:
    """Words of a record; none of what is no record."""
    from factorysim.catalog.trees import descend, is_branch

    section, *rest = path.split(".")
    record: object = descend(catalog.sections[section], rest) if len(rest) == 1 else {}
    words: dict[str, str] = {}
    for key, value in record.items() if is_branch(record) else ():
        if isinstance(value, list):
            words[key] = ", ".join(str(item) for item in cast("list[object]", value))
        elif not isinstance(value, dict):
            words[key] = str(value)
    return words


def _print_notes(path: str, facts: Sequence[Fact], numbers: Mapping[str, int]) -> None:
    lines: list[str] = []
    for fact in facts:
        if fact.note:
            lines.append(f"{_inner(path, fact.id)}: {fact.note}")
        for other in fact.alternatives:
            role = f"variant {other.variant}" if other.variant else other.role
            by = " ".join(str(numbers[name]) for name in other.source)
            told = f" {other.note}" if other.note else ""
            value = _quantity(other.value, *_scale(other.value, other.unit))
            lines.append(f"{_inner(path, fact.id)}: also {value} ({role}; source {by}){told}")
    _print_lines("notes", lines)


def _source_numbers(facts: Sequence[Fact]) -> dict[str, int]:
    """Give each source a number, in the order in which they are named."""
    names = (
        name
        for fact in facts
        for name in (*fact.source, *(by for other in fact.alternatives for by in other.source))
    )
    return {name: number for number, name in enumerate(dict.fromkeys(names), 1)}


def _print_sources(catalog: Catalog, numbers: Mapping[str, int]) -> None:
    lines: list[str] = []
    for name, number in numbers.items():
        source = catalog.sources[name]
        date = f", {source.date}" if source.date else ""
        lines.append(f"{number:>2}  {name}: {source.title}{date}")
    _print_lines("sources", lines)


def _print_lines(heading: str, lines: Sequence[str]) -> None:
    if lines:
        print(f"\n{heading}")
        _print_indented(lines)


def _print_indented(lines: Sequence[str]) -> None:
    """Print lines two cells from the edge, also where they are broken to fit."""
    from rich.padding import Padding
    from rich.text import Text

    for line in lines:
        _print(Padding(Text(_clean(line)), (0, 0, 0, 2), expand=False))


def _record_json(catalog: Catalog, kind: Listed, name: str) -> dict[str, object]:
    section = "efficiency" if kind == "engines" else kind
    path = f"{section}.{name}"
    facts = [fact for key, fact in catalog.facts.items() if key.startswith(f"{path}.")]
    return {"id": name, **_path_json(catalog, path, facts)}


def _path_json(catalog: Catalog, path: str, facts: Sequence[Fact]) -> dict[str, object]:
    words = _words(catalog, path)
    return {"path": path, **words, "facts": [asdict(fact) for fact in facts]}


def _quantity(value: object, factor: float, unit: str) -> str:
    """Write a value in a scaled unit; words as they are."""
    if value is None:
        return "?"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if not isinstance(value, int | float):
        return _clean(str(value))
    return f"{_digits(value / factor)} {unit}".rstrip()


def _scale(value: object, unit: str) -> tuple[float, str]:
    """Choose the prefix that leaves one to four digits before the point."""
    plain = "" if unit in ("count", "ratio", "bool", "text") else unit
    if not isinstance(value, int | float) or unit not in (*_PREFIXED, "count"):
        return 1.0, plain
    if unit == "count":
        return (1e9, "e9") if abs(value) >= 1e9 else (1.0, "")
    prefixes = _SMALL if unit == "s" else _PREFIXES
    factor, prefix = next(((f, p) for f, p in prefixes if abs(value) >= f), (1.0, ""))
    return factor, f"{prefix.lower() if prefix == 'K' else prefix}{unit}"


def _digits(value: float) -> str:
    """Write four digits, or the whole part where that has more."""
    if abs(value) >= 1e12:
        return f"{value:.4g}"
    return f"{value:,.0f}" if abs(value) >= 1e3 else f"{value:.4g}"


def _clean(text: str) -> str:
    """Keep control characters of users' files off the terminal."""
    return "".join(char if char.isprintable() else "?" for char in text)


def _print(renderable: object) -> None:
    _console().print(renderable)


def _console() -> Console:
    from rich.console import Console

    return Console(markup=False, highlight=False, emoji=False)


def _print_json(value: object) -> None:
    json.dump(value, sys.stdout, indent=2)
    print()
