"""Any config is imported whole, or refused with its file; what is imported loads."""

import json
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.catalog import load_catalog
from factorysim.errors import SpecError
from factorysim.load.huggingface import import_llm
from factorysim.physics.shape import llm_shape
from tests.unit.load.hf_configs import CONFIGS

CATALOG = load_catalog()
WHOLE = {name: config(CATALOG.llm(name)) for name, config in CONFIGS.items()}

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)


def reread(text):
    """Import a config; load what came of it. None if it was refused."""
    with TemporaryDirectory() as folder:
        path, out = Path(folder, "config.json"), Path(folder, "mine.yaml")
        path.write_text(text, encoding="utf-8")
        faults = ()
        try:
            told = import_llm(path, CATALOG, "mine")
        except SpecError as error:
            faults = error.faults
        if faults:
            assert all(fault.where.startswith(str(path)) and fault.found for fault in faults)
            return None
        out.write_text(told.text, encoding="utf-8")
        catalog = load_catalog(out)
        llm = catalog.llm("mine")
        shape = llm_shape(llm)
        assert told.total_params == llm.total_params == shape.total_params
        assert 0 < told.active_params <= told.total_params
        return llm


@pytest.mark.slow
@settings(deadline=None, max_examples=150)
@given(st.sampled_from(sorted(WHOLE)), st.data())
def test_a_config_with_one_value_changed_is_imported_whole_or_refused(name, data):
    config = json.loads(json.dumps(WHOLE[name]))
    part = config.get("text_config", config)
    key = data.draw(st.sampled_from(sorted(part)))
    part[key] = data.draw(JSON | st.integers(0, 300))
    reread(json.dumps(config))


@pytest.mark.slow
@settings(deadline=None, max_examples=60)
@given(
    layers=st.integers(1, 200),
    hidden=st.integers(1, 200).map(lambda n: 64 * n),
    kv=st.integers(1, 16),
    group=st.integers(1, 16),
    size=st.sampled_from([64, 80, 128, 256]),
    width=st.integers(1, 60_000),
    vocab=st.integers(1, 300_000),
    tied=st.booleans(),
)
def test_shapes_survive(layers, hidden, kv, group, size, width, vocab, tied):
    config = {
        "model_type": "llama", "num_hidden_layers": layers, "hidden_size": hidden,
        "num_attention_heads": kv * group, "num_key_value_heads": kv, "head_dim": size,
        "intermediate_size": width, "vocab_size": vocab, "tie_word_embeddings": tied,
        "max_position_embeddings": 4096,
    }  # fmt: skip
    llm = reread(json.dumps(config))
    assert llm is not None
    found = (llm.layers, llm.hidden, llm.heads, llm.kv_heads, llm.head_dim, llm.intermediate)
    assert found == (layers, hidden, kv * group, kv, size, width)
    attention = hidden * size * (2 * kv * group + 2 * kv)
    tables = vocab * hidden * (1 if tied else 2)
    assert llm.total_params == layers * (attention + 3 * hidden * width) + tables


@settings(deadline=None, max_examples=100)
@given(st.text(max_size=40) | JSON.map(json.dumps))
def test_whatever_else_is_in_the_file_is_refused(text):
    assert reread(text) is None
