"""Variants of a scenario: layouts of its replicas, and other values at dotted paths.

A layout is for every deployment that serves an LLM, and takes the devices that the
scenario gives it: a fixed number of replicas is scaled with their size.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, NamedTuple

from factorysim.errors import Fault, SpecError, UserError
from factorysim.marked import shown

if TYPE_CHECKING:
    from collections.abc import Sequence

    from factorysim.spec.deployment import DeploymentSpec
    from factorysim.spec.scenario import ScenarioSpec

LAYOUT = "--layout"
VARY = "--vary"
DIVIDES = ("ep",)
"""Sizes of a layout that add no devices to a replica."""


class Variant(NamedTuple):
    """A scenario with some keys changed."""

    label: str
    scenario: ScenarioSpec


class _Change(NamedTuple):
    """What one option changes, and how it is told."""

    option: str
    label: str
    values: dict[str, object]


def variants_of(
    scenario: ScenarioSpec, layouts: Sequence[str] = (), vary: Sequence[str] = ()
) -> list[Variant]:
    """Make every combination of layouts and values; the scenario itself if none are given.

    Parameters
    ----------
    layouts
        Like ``tp=8,ep=8``, each in place of the scenario's own.
    vary
        Like ``deployments.serve.parallel.tp=4,8``: a path as of ``--set``, and values.

    Raises
    ------
    SpecError
        With every fault: an option that cannot be read, a path that leads nowhere,
        a value that does not go there.

    Examples
    --------
    >>> from factorysim.load import load
    >>> made = variants_of(load("quickstart"), ["tp=2", "tp=4,ep=4"])
    >>> [(one.label, one.scenario.deployments["serve"].replicas) for one in made]
    [('tp 2', 4), ('tp 4, ep 4', 2)]
    """
    axes: list[list[_Change]] = []
    faults: list[Fault] = []
    for read, texts in ((_layouts, layouts), (_values, vary)):
        try:
            axes += read(scenario, texts)
        except SpecError as error:
            faults += error.faults
    made: list[Variant] = []
    for changes in product(*axes) if not faults else ():
        try:
            made.append(_changed(scenario, changes))
        except SpecError as error:
            faults += error.faults
    if faults:
        raise SpecError(*dict.fromkeys(faults))
    labels = [one.label for one in made]
    for label in labels:
        if labels.count(label) > 1:
            cure = "give each layout and each value once"
            raise SpecError(Fault("variants", "", f"{label} twice", "different variants", cure))
    return made


def _layouts(scenario: ScenarioSpec, texts: Sequence[str]) -> list[list[_Change]]:
    axis: list[_Change] = []
    faults: list[Fault] = []
    for text in texts:
        pairs = [part.partition("=") for part in text.split(",")]
        sizes = {key.strip(): value.strip() for key, _, value in pairs}
        if len(sizes) < len(pairs) or not all(k and v.isdecimal() for k, v in sizes.items()):
            faults.append(Fault(LAYOUT, "", shown(text), "sizes by name, like tp=8,ep=8"))
            continue
        numbers = {key: int(value) for key, value in sizes.items()}
        label = ", ".join(f"{key} {number}" for key, number in numbers.items())
        axis.append(_Change(f"{LAYOUT} {text}", label, _replaced(scenario, numbers)))
    if faults:
        raise SpecError(*faults)
    return [axis] if axis else []


def _replaced(scenario: ScenarioSpec, sizes: dict[str, int]) -> dict[str, object]:
    """Put a layout in place of that of every deployment of an LLM."""
    values: dict[str, object] = {}
    for name, deployment in scenario.deployments.items():
        if deployment.role == "tools":
            continue
        path = f"deployments.{name}"
        values[f"{path}.parallel"] = None  # takes out what the layout does not name
        values |= {f"{path}.parallel.{key}": number for key, number in sizes.items()}
        if deployment.replicas is not None:
            devices = deployment.replicas * _devices(_sizes(deployment))
            values[f"{path}.replicas"] = max(1, devices // max(1, _devices(sizes)))
    return values


def _sizes(deployment: DeploymentSpec) -> dict[str, int]:
    return {
        key: value
        for key, value in deployment.parallel.model_dump().items()
        if isinstance(value, int)
    }


def _devices(sizes: dict[str, int]) -> int:
    """Devices of a replica."""
    devices = 1
    for key, size in sizes.items():
        devices *= 1 if key in DIVIDES else size
    return devices


def _values(scenario: ScenarioSpec, texts: Sequence[str]) -> list[list[_Change]]:
    """Read paths and their values."""
    from factorysim.yaml_reader import parse_yaml

    axes: list[list[_Change]] = []
    faults: list[Fault] = []
    for text in texts:
        path, equals, listed = text.partition("=")
        words = [word.strip() for word in listed.split(",")]
        if not equals or not path.strip() or not all(words):
            expected = "a path and values, like deployments.serve.parallel.tp=4,8"
            faults.append(Fault(VARY, "", shown(text), expected))
            continue
        path = path.strip()
        name = path.rpartition(".")[2]
        axes.append(
            [
                _Change(f"{VARY} {path}", f"{name} {word}", {path: parse_yaml(word, VARY).plain()})
                for word in words
            ]
        )
    if faults:
        raise SpecError(*faults)
    return axes


def _changed(scenario: ScenarioSpec, changes: tuple[_Change, ...]) -> Variant:
    from factorysim.load import override

    label = ", ".join(change.label for change in changes)
    if not changes:
        return Variant(own_label(scenario), scenario)
    values = {path: value for change in changes for path, value in change.values.items()}
    try:
        return Variant(label, override(scenario, values))
    except UserError as error:
        where = " ".join(change.option for change in changes)
        raise SpecError(*(fault._replace(where=where) for fault in error.faults)) from None


def own_label(scenario: ScenarioSpec) -> str:
    """Name the layout that a scenario has: by deployment, where several serve.

    Examples
    --------
    >>> from factorysim.load import load
    >>> own_label(load("quickstart"))
    'tp 2'
    """
    serving = {n: one for n, one in scenario.deployments.items() if one.role != "tools"}
    told = {name: _size_words(one) for name, one in serving.items()}
    if len(set(told.values())) == 1:
        return next(iter(told.values()))
    return "; ".join(f"{name} {words}" for name, words in told.items())


def _size_words(deployment: DeploymentSpec) -> str:
    sizes = _sizes(deployment)
    return ", ".join(f"{key} {size}" for key, size in sizes.items() if key == "tp" or size > 1)
