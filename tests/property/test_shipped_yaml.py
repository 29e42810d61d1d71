"""The quick reader of shipped files agrees with all of YAML on whatever keeps to its part."""

import json

from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from factorysim.catalog.shipped import parse_shipped

KEYS = st.from_regex(r"[a-z][a-z0-9_]{0,8}", fullmatch=True).filter(
    lambda key: key not in ("true", "false", "null", "y", "n", "yes", "no", "on", "off")
)
TEXTS = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=30)
SCALARS = st.one_of(
    TEXTS,
    st.integers(-(10**15), 10**15),
    st.floats(1e-12, 1e18).map(lambda value: float(f"{value:.6e}")),
    st.booleans(),
    st.none(),
)
LEAVES = st.one_of(
    SCALARS,
    st.lists(SCALARS, max_size=4),
    st.dictionaries(KEYS, st.one_of(SCALARS, st.lists(SCALARS, max_size=3)), max_size=5),
)
TREES = st.recursive(
    st.dictionaries(KEYS, LEAVES, min_size=1, max_size=4),
    lambda inner: st.dictionaries(KEYS, st.one_of(LEAVES, inner), min_size=1, max_size=4),
    max_leaves=12,
)


def flow(value):
    """One-line form with bare keys; numbers as both kinds of YAML read them."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {flow(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(flow, value)) + "]"
    return f"{value:.6e}" if isinstance(value, float) else json.dumps(value)


def written(tree, block, indent=""):
    """Write a tree; `block` tells which of its maps stand on lines of their own."""
    lines = []
    for key, value in tree.items():
        if isinstance(value, dict) and value and block.draw(st.booleans()):
            lines.append(f"{indent}{key}: # a comment\n{written(value, block, indent + '  ')}")
        else:
            lines.append(f"{indent}{key}: {flow(value)}\n")
    return "".join(lines)


@settings(max_examples=60, deadline=None)
@given(TREES, st.data())
def test_the_quick_reader_reads_what_yaml_reads(tree, block):
    text = written(tree, block)
    assert parse_shipped(text) == tree
    assert YAML(typ="safe", pure=True).load(text) == tree
