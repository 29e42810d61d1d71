"""Users' files in, checked specs out: the only reader of what a user writes in YAML."""

from __future__ import annotations

from factorysim.yaml_reader import read_yaml as read_yaml
