"""Where the shipped topologies and scenarios are: in a wheel or in a checkout.

The wheel carries them inside the package (``factorysim/_data``); an editable
install and a checkout have them beside it. The catalog's own YAML is package
data and needs no resolver.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from factorysim.errors import Fault, SpecError

ResourceKind = Literal["topologies", "scenarios"]

_PACKAGE = Path(__file__).resolve().parent
_SUFFIX = ".yaml"
_READ_BY_SCENARIOS = ("agents", "catalogs", "traces")
"""Folders of `scenarios` whose files are no scenarios."""


def resource_root(kind: ResourceKind) -> Path:
    """Folder that holds the shipped files of one kind."""
    shipped = _PACKAGE / "_data" / kind
    return shipped if shipped.is_dir() else _PACKAGE.parent / kind


def resource_names(kind: ResourceKind) -> list[str]:
    """Names of the shipped files of one kind, sorted: path below the root, no suffix.

    Examples
    --------
    >>> "../secret" in resource_names("topologies")
    False
    >>> "quickstart" in resource_names("scenarios")
    True
    """
    root = resource_root(kind)
    below = (path.relative_to(root) for path in root.rglob(f"*{_SUFFIX}"))
    return sorted(
        path.with_suffix("").as_posix() for path in below if path.parts[0] not in _READ_BY_SCENARIOS
    )


def resource_path(kind: ResourceKind, name: str) -> Path:
    """Find a shipped file by its name, with or without ``.yaml``.

    Raises
    ------
    SpecError
        If nothing of that name ships; tells the nearest names. A name never
        leads out of the folder, since it must be one of `resource_names`.

    Examples
    --------
    >>> resource_path("scenarios", "no-such-scenario")
    Traceback (most recent call last):
    ...
    factorysim.errors.SpecError: no-such-scenario: ...
    """
    names = resource_names(kind)
    wanted = name.removesuffix(_SUFFIX)
    if wanted in names:
        return resource_root(kind) / f"{wanted}{_SUFFIX}"
    raise SpecError(_unknown(kind, name, names))


def _unknown(kind: ResourceKind, name: str, names: list[str]) -> Fault:
    from difflib import get_close_matches

    near = get_close_matches(name, names, n=1)
    cure = f'did you mean "{near[0]}"? ' if near else ""
    shipped = f"shipped: {', '.join(names) or 'none'}"
    return Fault(name, "", f'"{name}"', f"a file or one of the shipped {kind}", cure + shipped)


def measurements() -> Path:
    """Table of published measurements that ships with the catalog.

    Examples
    --------
    >>> measurements().name
    'measurements.csv'
    """
    return _PACKAGE / "catalog" / "measurements.csv"
