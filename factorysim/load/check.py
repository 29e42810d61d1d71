"""What a scenario refers to: keys of its own maps, ids of the catalog, agents.

Checked on the data as written, so that a fault elsewhere in the file does not
hide these; what is not text is told by the specs.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import CapacityError, Fault, UserError
from factorysim.marked import dotted, shown
from factorysim.spec.deployment import CLOUD
from factorysim.spec.runtime import SANDBOX_STARTS
from factorysim.spec.serving import ServingSpec
from factorysim.spec.shape import either, nearest
from factorysim.spec.topology import FabricSpec
from factorysim.workload.files import CATALOG
from factorysim.workload.tools import load_tools

if TYPE_CHECKING:
    from collections.abc import Callable

    from factorysim.catalog import Catalog
    from factorysim.marked import Marked


class _Word(NamedTuple):
    """Some text of a file, with its path."""

    path: tuple[str, ...]
    text: str


def check_topology(tree: Marked, catalog: Catalog, above: tuple[str, ...] = ()) -> list[Fault]:
    """Check racks, switches and the variant of a topology.

    Parameters
    ----------
    above
        Path of the topology in the file.
    """
    faults: list[Fault] = []
    for word in _each(tree, (*above, "racks"), "rack"):
        faults += _told(tree, word, lambda name: catalog.find("racks", name))
    for key in ("leaf", "spine"):
        switch = _word(tree, (*above, "fabric", key), str(FabricSpec.model_fields[key].default))
        faults += _told(tree, switch, catalog.switch)
    variant = _word(tree, (*above, "variant"))
    if variant is not None:
        faults += _one_of(tree, variant, catalog.variants, "an operating point of the catalog")
    return faults


def check_scenario(tree: Marked, catalog: Catalog) -> list[Fault]:
    """Check all that a scenario refers to, its topology in place."""
    topology = tree.find(("topology",))
    faults: list[Fault] = []
    if topology is not None and topology.entries():
        faults += check_topology(tree, catalog, ("topology",))
        if "graph" not in topology.entries():
            pools = _pools(tree, catalog)
            for word in _each(tree, ("deployments",), "pool"):
                if word.text != CLOUD:
                    faults += _one_of(tree, word, pools, "a pool of the topology")
    for word in _each(tree, ("llms",), "llm"):
        faults += _told(tree, word, lambda name: catalog.find("llms", name))
    for name in _entries(tree, "deployments"):
        draft = _word(tree, ("deployments", name, "speculation", "draft", "llm"))
        faults += _told(tree, draft, lambda llm: catalog.find("llms", llm))
    engine = _word(tree, ("serving", "engine"), str(ServingSpec.model_fields["engine"].default))
    faults += _told(tree, engine, lambda name: catalog.find("engines", name))
    faults += _check_tools(tree, catalog)
    return faults + _check_llms(tree) + _check_agents(tree)


def _check_tools(tree: Marked, catalog: Catalog) -> list[Fault]:
    """Runtimes are the catalog's, tool classes those that ship."""
    faults: list[Fault] = []
    runtimes = [*_each(tree, ("deployments",), "runtime"), _word(tree, ("serving", "runtime"))]
    for word in runtimes:
        faults += _told(tree, word, lambda name: catalog.find("runtimes", name))
    shipped = tuple(load_tools().tools)
    for name in _entries(tree, "deployments"):
        path = ("deployments", name, "classes")
        node = tree.find(path)
        for item in node.value if node is not None and isinstance(node.value, list) else ():
            if isinstance(item.value, str) and item.value not in shipped:
                expected = f"a tool class ({either(shipped)})"
                found, cure = shown(item.value), nearest(item.value, shipped)
                faults.append(Fault(str(item.mark), dotted(path), found, expected, cure))
        start = _word(tree, ("deployments", name, "sandbox", "start"))
        if start is not None:
            known = (*SANDBOX_STARTS, *shipped)
            faults += _one_of(tree, start, known, "what starts a sandbox")
    return faults


def _check_llms(tree: Marked) -> list[Fault]:
    """Deployments and streams name keys of `llms`, and each stream's is served."""
    llms = tuple(_entries(tree, "llms"))
    faults: list[Fault] = []
    served = set()
    for word in _each(tree, ("deployments",), "llm"):
        served.add(word.text)
        faults += _one_of(tree, word, llms, "a key of llms")
    used = [*_each(tree, ("streams",), "llm")]
    for name in _entries(tree, "streams"):
        path = ("streams", name, "llm_by_step")
        used += [w for step in _entries(tree, *path) if (w := _word(tree, (*path, step)))]
    for word in used:
        faults += _one_of(tree, word, llms, "a key of llms")
        if word.text in llms and word.text not in served:
            cure = "add a deployment with `llm: " + word.text + "`"
            expected = "an llm that a deployment serves"
            faults.append(_fault(tree, word, expected, cure))
    return faults + _check_lengths(tree)


def _check_lengths(tree: Marked) -> list[Fault]:
    """Find LLMs with a deployment for long prompts and none for the others."""
    long: dict[str, tuple[str, ...]] = {}
    served: set[str] = set()
    for word in _each(tree, ("deployments",), "llm"):
        path = (*word.path[:-1], "prompts_above")
        node = tree.find(path)
        if node is None or node.value is None:
            served.add(word.text)
        else:
            long.setdefault(word.text, path)
    faults = []
    for llm, path in long.items():
        if llm not in served:
            node = tree.find(path)
            found = shown(node.value if node is not None else None)
            expected = f"another deployment of {llm} that takes shorter prompts"
            cure = "remove it here, or add a deployment without it"
            where = str(tree.nearest(path))
            faults.append(Fault(where, dotted(path), found, expected, cure))
    return faults


def _check_agents(tree: Marked) -> list[Fault]:
    """Agents are shipped ones; files of agents are found by whoever resolves files."""
    shipped = tuple(sorted(path.stem for path in (CATALOG / "agents").glob("*.yaml")))
    faults: list[Fault] = []
    for word in _each(tree, ("streams",), "agent"):
        if not is_yaml_name(word.text):
            faults += _one_of(tree, word, shipped, "an agent file, or a shipped agent")
    return faults


def is_yaml_name(name: str) -> bool:
    """Tell a file from the name of something in the catalog."""
    return name.endswith((".yaml", ".yml"))


def _pools(tree: Marked, catalog: Catalog) -> tuple[str, ...]:
    """Pools of a topology: its rack keys, and the host CPUs of those that have some."""
    pools: list[str] = []
    for key in _entries(tree, "topology", "racks"):
        pools.append(key)
        rack = _word(tree, ("topology", "racks", key, "rack"))
        try:
            built = catalog.rack(rack.text) if rack is not None else None
        except (CapacityError, UserError):
            built = None  # told elsewhere; its hosts get the benefit of the doubt
        if built is None or (built.accelerator is not None and built.cpu is not None):
            pools.append(f"{key}.cpu")
    return tuple(pools)


def _entries(tree: Marked, *path: str) -> Sequence[str]:
    node = tree.find(path)
    return tuple(node.entries()) if node is not None else ()


def _each(tree: Marked, path: tuple[str, ...], key: str) -> Iterator[_Word]:
    """One key of every entry of a map, where it is text."""
    for name in _entries(tree, *path):
        word = _word(tree, (*path, name, key))
        if word is not None:
            yield word


def _word(tree: Marked, path: tuple[str, ...], default: str | None = None) -> _Word | None:
    node = tree.find(path)
    text = default if node is None else node.value
    return _Word(path, text) if isinstance(text, str) else None


def _one_of(tree: Marked, word: _Word, known: Sequence[str], expected: str) -> list[Fault]:
    if word.text in known:
        return []
    there = f" ({either(known[:12])})" if known else " (there is none)"
    return [_fault(tree, word, expected + there, nearest(word.text, known))]


def _told(tree: Marked, word: _Word | None, find: Callable[[str], object]) -> list[Fault]:
    """Tell what the catalog says about a name, at its line."""
    if word is None:
        return []
    try:
        find(word.text)
    except CapacityError:
        return []  # known, but not to be built as it is: told by the plan, with the cure
    except UserError as error:
        return [_fault(tree, word, fault.expected, fault.cure) for fault in error.faults]
    return []


def _fault(tree: Marked, word: _Word, expected: str, cure: str) -> Fault:
    where = str(tree.nearest(word.path))
    return Fault(where, dotted(word.path), shown(word.text), expected, cure)
