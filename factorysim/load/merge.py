"""Laying one file over another: `extends:` and `--set`, by one rule.

Maps merge key by key, anything else is replaced whole, and `null` deletes. A map
laid over the name of a topology or site extends what the name stands for.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from factorysim.errors import Fault, SpecError
from factorysim.marked import Mark, Marked, dotted, shown
from factorysim.spec.shape import Slot, either, nearest
from factorysim.yaml_reader import parse_yaml

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.spec.base import Spec

REFERENCES = ("topology", "site")
"""Keys of a scenario that take a name, or a spec in place."""


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


def read_override(text: str, model: type[Spec], tree: Marked) -> tuple[tuple[str, ...], Marked]:
    """Turn ``a.b=value`` into its path and marked data to lay over a file.

    Parameters
    ----------
    model
        What the file holds; tells which paths there are.
    tree
        The file's data: a map by the user's names has these entries.

    Raises
    ------
    SpecError
        If it is not of that form, or no such path exists.
    """
    path, equals, value = text.partition("=")
    name = f"--set {path.strip()}"
    keys = tuple(path.strip().split("."))
    if not equals or not all(keys):
        cure = "for example --set run.window='10 min'"
        raise SpecError(Fault("--set", "", shown(text), "key=value", cure))
    _check_path(keys, model, tree)
    node = _unlined(parse_yaml(value, name), Mark("--set"))
    for key in reversed(keys):
        node = Marked({key: node}, Mark("--set"))
    return keys, node


def _unlined(node: Marked, mark: Mark) -> Marked:
    """Take the line numbers off: an argument has none."""
    if node.entries():
        value = {key: _unlined(child, mark) for key, child in node.entries().items()}
        return Marked(value, mark)
    return replace(node, mark=mark)


def _check_path(keys: Sequence[str], model: type[Spec], tree: Marked) -> None:
    """Refuse a path that leads nowhere; a last key may be a new name in a map."""
    slot: Slot | None = Slot.of(model)
    node: Marked | None = tree
    for depth, key in enumerate(keys):
        assert slot is not None
        inner = slot.inner(key)
        known = tuple(slot.keys())
        if slot.named() is not None:
            known = tuple(node.entries()) if node is not None else ()
            inner = inner if key in known or depth == len(keys) - 1 else None
        if inner is None:
            above = f"of {dotted(keys[:depth])}" if depth else "of the scenario"
            found, expected = f"the key {shown(key)}", f"a key {above}: {either(known)}"
            if not known:
                expected = f"a path that ends at {dotted(keys[:depth])}"
            raise SpecError(Fault("--set", dotted(keys), found, expected, nearest(key, known)))
        slot, node = inner, node.child(key) if node is not None else None


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
