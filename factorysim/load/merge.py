"""Laying one file over another: `extends:` and `--set`, by one rule.

Maps merge key by key, anything else is replaced whole, and `null` deletes. A map
laid over the name of a topology or site extends what the name stands for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError
from factorysim.marked import Mark, Marked, dotted, shown
from factorysim.spec.shape import Slot, either, nearest
from factorysim.yaml_reader import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.spec.base import Spec

REFERENCES = ("topology", "site")
"""Keys of a scenario that take a name, or a spec in place."""
DEEPEST = 5
"""Levels below, among which a misplaced key is looked for."""


def merge(base: Marked, over: Marked) -> Marked:
    """Lay marked data over other marked data.

    Examples
    --------
    >>> base, over = parse_yaml("{a: {x: 1, y: 2}, b: [1]}", "b"), parse_yaml("{a: {y: ~}}", "o")
    >>> merge(base, over).plain()
    {'a': {'x': 1}, 'b': [1]}
    """
    merged = dict(base.entries())
    for key, node in over.entries().items():
        below = merged.get(key)
        if below is not None and node.value is None:
            del merged[key]
        elif below is not None and below.entries() and node.entries():
            merged[key] = merge(below, node)
        elif below is not None and key in REFERENCES and _extends(below, node):
            merged[key] = replace(node, value={"extends": below, **node.entries()})
        else:
            merged[key] = node
    return replace(over, value=merged)


def _extends(below: Marked, over: Marked) -> bool:
    return isinstance(below.value, str) and bool(over.entries()) and "extends" not in over.entries()


def lay_override(text: str, model: type[Spec], tree: Marked) -> tuple[Marked, NewEntry | None]:
    """Lay ``a.b=value`` over a file's data, as a file that extends it would.

    Parameters
    ----------
    model
        What the file holds; tells which paths there are.
    tree
        The file's data, whose entries of maps by the user's names are known; others
        are made.

    Returns
    -------
    The data, and the entry that was not there before, if there is one.

    Raises
    ------
    SpecError
        If it is not of that form, no such path exists, or there is nothing to delete.
    """
    path, equals, value = text.partition("=")
    name = f"--set {path.strip()}"
    keys = tuple(path.strip().split("."))
    if not equals or not all(keys):
        cure = "for example --set run.window='10 min'"
        raise SpecError(Fault("--set", "", shown(text), "key=value", cure))
    if not value.strip():
        cure = f"`{path.strip()}=null` takes out what the file says"
        raise SpecError(Fault("--set", dotted(keys), "no value", "key=value", cure))
    made = check_path(keys, model, tree)
    node = _unlined(parse_yaml(value, name), Mark("--set"))
    if node.value is None:
        if made is not None:
            known = f"an entry of {dotted(made.path[:-1])} to take out: {either(made.known)}"
            cure = nearest(made.path[-1], made.known)
            raise SpecError(Fault("--set", dotted(keys), "no such entry", known, cure))
        if tree.find(keys) is None:
            return tree, None  # the default holds as it is
    for depth in range(len(keys) - 1, -1, -1):
        above = tree.find(keys[:depth])
        inner = depth == len(keys) - 1
        mark = Mark("--set") if inner or above is None else above.mark
        node = Marked({keys[depth]: node}, mark)
    return merge(tree, node), made


class NewEntry(NamedTuple):
    """An entry of a map by the user's names that `--set` has made."""

    path: tuple[str, ...]
    known: tuple[str, ...]
    """Entries that were there before."""

    def told(self, faults: Sequence[Fault]) -> list[Fault]:
        """Say of a new entry that lacks something that it may be an old one, misspelt."""
        prefix = dotted(self.path)
        mine = [f for f in faults if f.key == prefix or f.key.startswith(f"{prefix}.")]
        cure = nearest(self.path[-1], self.known)
        above = dotted(self.path[:-1])
        if not mine or not self.known:
            return list(faults)
        if not cure:
            new = f"{self.path[-1]} is a new entry of {above}, beside {either(self.known, 'and')}"
            first = mine[0]._replace(cure=f"{mine[0].cure}; {new}" if mine[0].cure else new)
            return [first if one is mine[0] else one for one in faults]
        expected = f"{either(self.known)}, or a new entry of {above} with all that it needs"
        fault = Fault("--set", prefix, f"the key {shown(self.path[-1])}", expected, cure)
        return [fault, *(one for one in faults if one not in mine)]


def _unlined(node: Marked, mark: Mark) -> Marked:
    """Take the line numbers off: an argument has none."""
    if node.entries():
        value = {key: _unlined(child, mark) for key, child in node.entries().items()}
        return Marked(value, mark)
    return replace(node, mark=mark)


def check_path(keys: Sequence[str], model: type[Spec], tree: Marked) -> NewEntry | None:
    """Refuse a path that leads nowhere; tell of the first entry that is not there yet."""
    slot = Slot.of(model)
    node: Marked | None = tree
    made: NewEntry | None = None
    for depth, key in enumerate(keys):
        inner = slot.inner(key)
        if slot.named() is not None:
            there = tuple(node.entries()) if node is not None else ()
            if slot.names and key not in slot.names:
                inner = None
            elif made is None and key not in there:
                made = NewEntry(tuple(keys[: depth + 1]), there)
        if inner is None:
            raise SpecError(_no_path(keys, depth, slot, model))
        slot, node = inner, node.child(key) if node is not None else None
    return made


def _no_path(keys: Sequence[str], depth: int, slot: Slot, model: type[Spec]) -> Fault:
    """Tell where a path leaves what there is, and where it may have been meant to go."""
    key, above = keys[depth], dotted(keys[:depth])
    known = slot.names or tuple(slot.keys())
    found = f"the key {shown(key)}"
    expected = f"a key of {above or 'the scenario'}: {either(known)}"
    if not known:
        expected = f"a path that ends at {above}"
        if slot.takes_list:
            return Fault("--set", dotted(keys), found, expected, "a list is replaced whole")
    homes = _homes(key, slot), _homes(key, Slot.of(model))
    cure = nearest(key, known)
    if homes[0] or (homes[1] and not cure):
        home = (*keys[:depth], *homes[0]) if homes[0] else homes[1]
        cure = f"it belongs in `{'.'.join(home)}`"
    return Fault("--set", dotted(keys), found, expected, cure)


def _homes(key: str, slot: Slot) -> tuple[str, ...]:
    """Find the nearest place below a slot that has a key of that name; none if none has."""
    level: list[tuple[tuple[str, ...], Slot]] = [((), slot)]
    for _ in range(DEEPEST):
        level = [
            ((*path, name), inner) for path, above in level for name, inner in _below(above).items()
        ]
        for path, inner in level:
            if key in inner.keys():  # noqa: SIM118 - a method, not of a mapping
                return path
    return ()


def _below(slot: Slot) -> dict[str, Slot]:
    named = slot.named()
    return {"NAME": named} if named is not None else slot.keys()


def get_path(tree: object, path: str) -> object:
    """Read a dotted path of a spec.

    Raises
    ------
    KeyError
        If there is nothing at the path.

    Examples
    --------
    >>> from factorysim.spec.serving import ServingSpec
    >>> get_path(ServingSpec(), "router.policy")
    'least_outstanding'
    """
    for key in path.split("."):
        if isinstance(tree, dict):
            tree = tree[key]
            continue
        fields = getattr(type(tree), "model_fields", {})
        names = {field.alias or name: name for name, field in fields.items()}
        tree = getattr(tree, names[key])
    return tree
