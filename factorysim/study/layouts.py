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


class Impossible(NamedTuple):
    """A combination that makes no scenario, and why."""

    label: str
    faults: tuple[Fault, ...]


class Variants(NamedTuple):
    """Every combination that was asked for."""

    made: list[Variant]
    impossible: list[Impossible]


class _Change(NamedTuple):
    """What one option changes, and how it is told."""

    option: str
    label: str
    values: dict[str, object]


def variants_of(
    scenario: ScenarioSpec, layouts: Sequence[str] = (), vary: Sequence[str] = ()
) -> Variants:
    """Make every combination of layouts and values; the scenario itself if none are given.

    A combination that makes no scenario (an ``ep`` that does not divide its ``tp``) does not
    stand in the way of the others.

    Parameters
    ----------
    layouts
        Like ``tp=8,ep=8``, each in place of the scenario's own.
    vary
        Like ``deployments.serve.parallel.tp=4,8``: a path as of ``--set``, and values.

    Raises
    ------
    SpecError
        With every fault of the options: what cannot be read, a path that leads nowhere,
        the same variant twice.

    Examples
    --------
    >>> from factorysim.load import load
    >>> found = variants_of(load("quickstart"), ["tp=2", "tp=4,ep=4", "tp=4,ep=3"])
    >>> [(one.label, one.scenario.deployments["serve"].replicas) for one in found.made]
    [('tp 2', 4), ('tp 4, ep 4', 2)]
    >>> [one.label for one in found.impossible]
    ['tp 4, ep 3']
    """
    axes: list[list[_Change]] = []
    faults: list[Fault] = []
    for read, texts in ((_layouts, layouts), (_values, vary)):
        try:
            axes += read(scenario, texts)
        except SpecError as error:
            faults += error.faults
    if faults:
        raise SpecError(*dict.fromkeys(faults))
    _check_changes(scenario, [change for axis in axes for change in axis])
    found = Variants([], [])
    labels: set[str] = set()
    for changes in product(*axes):
        label = ", ".join(change.label for change in changes) or own_label(scenario)
        if label in labels:
            cure = "give each layout and each value once"
            raise SpecError(Fault("variants", "", f"{label} twice", "different variants", cure))
        labels.add(label)
        try:
            found.made.append(Variant(label, _changed(scenario, changes)))
        except UserError as error:
            found.impossible.append(Impossible(label, error.faults))
    return found


def _check_changes(scenario: ScenarioSpec, changes: Sequence[_Change]) -> None:
    """Refuse options whose paths lead nowhere."""
    from factorysim.load import check_paths

    faults: list[Fault] = []
    for change in changes:
        try:
            check_paths(scenario, change.values)
        except SpecError as error:
            faults += [fault._replace(where=change.option) for fault in error.faults]
    if faults:
        raise SpecError(*dict.fromkeys(faults))


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


def _changed(scenario: ScenarioSpec, changes: tuple[_Change, ...]) -> ScenarioSpec:
    from factorysim.load import override

    if not changes:
        return scenario
    return override(scenario, {path: v for one in changes for path, v in one.values.items()})


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
