"""Imports point inwards, in the order that the design fixes."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import factorysim

PACKAGE = Path(factorysim.__file__).parent

LAYERS = [
    {"errors", "units", "rng", "marked", "yaml_reader", "resources"},
    {"spec"},
    {"catalog"},
    {"physics", "theory"},
    {"graph", "workload", "policies"},
    {"load", "records"},
    {"store"},
    {"sim", "metrics", "economics"},
    {"run"},
    {"study"},
    {"report"},
    {"cli"},
    {"__main__"},
]
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
STRANGERS = {("sim", "metrics"), ("metrics", "sim"), ("sim", "economics"), ("economics", "sim")}


def part_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def modules() -> list[Path]:
    return sorted(path for path in PACKAGE.rglob("*.py") if part_of(path) not in ("__init__",))


def imported(path: Path) -> Iterator[str]:
    """Dotted names of everything that a module imports, inside functions too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: a relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def inner_parts(path: Path) -> Iterator[str]:
    """First part of each import from the package itself."""
    for name in imported(path):
        first, _, rest = name.partition(".")
        if first == "factorysim" and rest:
            yield rest.split(".")[0]


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_module_imports_only_from_its_left(path):
    part = part_of(path)
    assert part in RANK, f"{part} has no place in the order"
    for other in inner_parts(path):
        if other in RANK:
            assert RANK[other] <= RANK[part], f"{part} must not import {other}"
            assert (part, other) not in STRANGERS, f"{part} must not know {other}"


@pytest.mark.parametrize("path", modules(), ids=lambda path: str(path.relative_to(PACKAGE)))
def test_sim_alone_imports_simpy(path):
    if part_of(path) != "sim":
        assert not any(name.split(".")[0] == "simpy" for name in imported(path))


def test_every_part_of_the_package_has_a_place_in_the_order():
    parts = {part_of(path) for path in modules()}
    assert parts <= set(RANK)


def test_importing_the_package_loads_nothing_heavy():
    heavy = "{'numpy', 'pandas', 'networkx', 'matplotlib', 'pyarrow', 'scipy', 'simpy', 'pydantic'}"
    code = f"import sys, factorysim; print(sorted({heavy} & set(sys.modules)))"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert told.stdout.strip() == "[]"


def test_the_public_load_is_the_function_whoever_came_first():
    import factorysim.load
    from factorysim import load

    assert callable(load)
    assert factorysim.load is load


def test_every_public_name_resolves():
    for name in factorysim.__all__:
        assert getattr(factorysim, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = factorysim.nothing
