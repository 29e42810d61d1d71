"""Trees of records: finding the leaves, and laying one tree over another."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias, TypeGuard, cast

from factorysim.catalog.shipped import Tree

KeyPath: TypeAlias = tuple[str, ...]
"""Section, id and keys of a node."""

_FOLLOWS = {"memory_bytes": "usable_memory_bytes"}
"""Key of a fact, and of another that was worked out from it."""


def is_leaf(node: object) -> TypeGuard[Tree]:
    """Whether a node of a record is a fact: a map with a value."""
    return isinstance(node, dict) and "value" in node


def is_branch(node: object) -> TypeGuard[Tree]:
    """Whether a node of a record is a map of other nodes."""
    return isinstance(node, dict) and "value" not in node


def descend(node: object, keys: Iterable[str]) -> object:
    """Node below another, along keys; None if there is none.

    Examples
    --------
    >>> descend({"flops": {"bf16": 1}}, ("flops", "bf16"))
    1
    """
    for key in keys:
        node = cast("Tree", node).get(key) if isinstance(node, dict) else None
    return node


def leaves(tree: Tree, path: str) -> Iterator[tuple[str, Tree]]:
    """Give every leaf below a node, with its dotted path.

    Examples
    --------
    >>> dict(leaves({"vera": {"cores": {"value": 88}}}, "cpus"))
    {'cpus.vera.cores': {'value': 88}}
    """
    for key, child in tree.items():
        if is_leaf(child):
            yield f"{path}.{key}", child
        elif is_branch(child):
            yield from leaves(child, f"{path}.{key}")


def fill(tree: Tree, filler: Tree) -> Tree:
    """Add to a tree what it lacks; of what it has, only unknown leaves are replaced.

    Examples
    --------
    >>> fill({"a": {"value": None}, "b": {"c": 2}}, {"a": {"value": 1}, "b": {"c": 3, "d": 4}})
    {'a': {'value': 1}, 'b': {'c': 2, 'd': 4}}
    """
    filled = dict(tree)
    for key, value in filler.items():
        below = filled.get(key)
        if key not in filled or (is_leaf(below) and below["value"] is None):
            filled[key] = value
        elif is_branch(below) and is_branch(value):
            filled[key] = fill(below, value)
    return filled


def lay(tree: Tree, over: Tree) -> Tree:
    """Lay one tree over another: maps merge, leaves and words are replaced whole.

    What was worked out from a leaf goes with it, unless it is stated anew as well.

    Examples
    --------
    >>> lay({"a": {"value": 1, "note": "old"}, "b": {"c": 2}}, {"a": {"value": 3}, "b": {"d": 4}})
    {'a': {'value': 3}, 'b': {'c': 2, 'd': 4}}
    """
    laid = dict(tree)
    for key, value in over.items():
        if key in _FOLLOWS and _FOLLOWS[key] not in over:
            laid.pop(_FOLLOWS[key], None)
        below = laid.get(key)
        both = is_branch(below) and is_branch(value)
        laid[key] = lay(laid[key], value) if both else value
    return laid
