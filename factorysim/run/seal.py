"""A hash over a manifest, kept in it: whoever changes a word of it by hand breaks the seal."""

from __future__ import annotations

import json
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

SEAL = "manifest_sha256"


def sealed(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Add the hash of a manifest to it; an older one is replaced.

    Examples
    --------
    >>> one = sealed({"seed": 7})
    >>> unbroken(one), unbroken({**one, "seed": 8}), unbroken({"seed": 7})
    (True, False, False)
    """
    rest = {key: value for key, value in manifest.items() if key != SEAL}
    return rest | {SEAL: _digest(rest)}


def unbroken(manifest: Mapping[str, Any]) -> bool:
    """Whether a manifest is as it was sealed; False of one that never was."""
    try:
        return manifest == sealed(manifest)
    except ValueError:  # NaN, or half a character: it was never written by us
        return False


def _digest(rest: Mapping[str, Any]) -> str:
    """Hash what JSON holds of it: the same before it is written and after it is read."""
    text = json.dumps(rest, sort_keys=True, ensure_ascii=False, allow_nan=False)
    return sha256(text.encode()).hexdigest()
