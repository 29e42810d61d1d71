"""Rules of KV tiers that make no sense, refused with the cure."""

import pytest
from pydantic import ValidationError

from factorysim.spec.kv import KvSpec


def refused(**fields):
    with pytest.raises(ValidationError) as caught:
        KvSpec.model_validate(fields)
    [error] = caught.value.errors()
    return error["ctx"]


@pytest.mark.parametrize(
    ("fields", "key", "cure"),
    [
        ({"tiers": []}, "tiers", "put hbm first"),
        ({"tiers": ["host", "hbm"]}, "tiers", "put hbm first"),
        ({"tiers": ["hbm", "host", "host"]}, "tiers", "name host once"),
        ({"tiers": ["hbm", "nvme", "host"]}, "tiers", "write [hbm, host, nvme]"),
        ({"tiers": ["hbm", "storage", "cmx", "host"]}, "tiers", "write [hbm, host, cmx, storage]"),
        ({"tiers": ["hbm", "host"], "retain": "none"}, "tiers", "remove the tiers"),
        ({"offload": "tool_call"}, "offload", "add tiers"),
        ({"fetch": "never"}, "fetch", "add tiers"),
        ({"eviction": "tool_ttl"}, "eviction", "add tiers"),
        ({"stores": {"host": {"capacity": "1 TB"}}}, "stores", "add tiers"),
        ({"tiers": ["hbm", "host"], "eviction": "ttl"}, "ttl", "ttl: 10 min"),
        ({"tiers": ["hbm", "host"], "ttl": "1 s"}, "ttl", "eviction: ttl"),
        ({"tiers": ["hbm", "host"], "stores": {"cmx": {}}}, "stores.cmx", "add the tier"),
        ({"tiers": ["hbm", "host"], "stores": {"hbm": {}}}, "stores.hbm", "memory_fraction"),
    ],
)
def test_what_makes_no_sense_is_refused(fields, key, cure):
    told = refused(**fields)
    assert told["key"] == key
    assert cure in told["cure"]


def test_hbm_alone_is_the_default_and_survives_being_written():
    spec = KvSpec()
    assert spec.tiers == ("hbm",)
    assert KvSpec.model_validate_json(spec.model_dump_json()) == spec


def test_tiers_survive_being_written():
    spec = KvSpec.model_validate(
        {"tiers": ["hbm", "host", "cmx"], "eviction": "ttl", "ttl": "5 min",
         "stores": {"cmx": {"capacity": "1 PB", "read": "1 TB/s"}}}
    )  # fmt: skip
    assert KvSpec.model_validate_json(spec.model_dump_json()) == spec
