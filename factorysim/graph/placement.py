"""Which devices each deployment takes.

Deployments that say how many replicas they want are placed first, in the order of
the file; those that do not share what is left, the first one taking all of it. A
replica of `tp * pp * dp` devices stays inside one scale-up domain; only where that exceeds
every domain of the pool does it take devices of several, in order: whole stages or ranks,
if a domain holds one. Domains are
filled in the order of the graph. No device serves two deployments. `Need` tells how
many devices a replica takes where the layout does not, and how many of another pool go with it.
"""

from __future__ import annotations

import difflib
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from factorysim.errors import CapacityError, Fault, SpecError, UserError
from factorysim.spec.deployment import CLOUD

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from factorysim.graph.factory import Factory
    from factorysim.spec.deployment import DeploymentSpec

WHERE = "scenario"

Replicas: TypeAlias = tuple[tuple[int, ...], ...]
"""Devices of each replica of a deployment: indices of nodes."""


class Group(NamedTuple):
    """Devices of a pool that share scale-up links, and are free."""

    free: list[int]
    size: int
    """Free or taken."""


class Need(NamedTuple):
    """Devices of a replica whose layout follows from what it must hold."""

    devices: int
    """Of its own pool."""
    partners: int = 0
    """Of the pool that the deployment's split names."""
    stages: int = 1
    """Of `devices` or of `partners`: groups that follow each other."""


class Placement(NamedTuple):
    """Devices of the deployments that could be placed, and why others could not."""

    replicas: dict[str, Replicas]
    """Deployment to replicas, each a tuple of node indices; a host of tools is a
    replica of one device."""
    errors: list[UserError]
    """`SpecError` of a pool that is unknown or of the wrong kind for the role,
    `CapacityError` where devices run out, with the sums."""
    partners: dict[str, Replicas]
    """Of split deployments: devices of the other pool, replica by replica."""

    def nodes(self) -> set[int]:
        """Devices that something runs on."""
        taken = (*self.replicas.values(), *self.partners.values())
        return {node for replicas in taken for nodes in replicas for node in nodes}


def place_deployments(
    deployments: Mapping[str, DeploymentSpec],
    factory: Factory,
    needs: Mapping[str, Need] | None = None,
) -> Placement:
    """Give every deployment the devices of each of its replicas.

    Parameters
    ----------
    needs
        Of deployments whose replicas take other devices than `tp` of their pool.
    """
    needs = needs or {}
    partners: dict[str, Replicas] = {}
    errors: list[UserError] = []
    groups = {pool: _groups(factory, members) for pool, members in factory.pools.items()}
    taken: dict[str, list[str]] = {pool: [] for pool in groups}
    placed: dict[str, Replicas] = {}
    ordered = sorted(deployments.items(), key=lambda item: item[1].replicas is None)
    for name, spec in ordered:
        fault = _pool_fault(name, spec, factory)
        if fault is None and spec.pool == CLOUD:
            placed[name] = ()
            continue
        if fault is not None:
            errors.append(SpecError(fault))
            continue
        size, parts = 1, 1
        if spec.role != "tools":
            size, parts = spec.parallel.devices, spec.parallel.pp * spec.parallel.dp
        need = needs.get(name, Need(size))
        size, wanted = need.devices, spec.replicas
        if spec.split is not None:
            other, fits = spec.split.pool, _fitting(groups[spec.split.pool], need.partners)
            if fits < (wanted or 1):
                errors.append(_short_of_partners(name, spec, need, fits, groups[other]))
                continue
            if wanted is None:
                wanted = min(fits, _fitting(groups[spec.pool], size))
        replicas = _take(groups[spec.pool], size, wanted, parts)
        if not replicas or (spec.replicas is not None and len(replicas) < spec.replicas):
            fault = _short(name, spec, size, len(replicas), groups, taken)
            errors.append(CapacityError(fault))
        else:
            placed[name] = replicas
            if spec.split is not None:
                partners[name] = _take(groups[spec.split.pool], need.partners, len(replicas))
                taken[spec.split.pool].append(f"{name} {len(replicas) * need.partners:,}")
        taken[spec.pool].append(f"{name} {len(replicas) * size:,}")
    return Placement(placed, errors, partners)


def _fitting(groups: Sequence[Group], size: int) -> int:
    """Count the replicas that `_take` would find devices for."""
    if size > max(group.size for group in groups):
        return sum(len(group.free) for group in groups) // size
    return sum(len(group.free) // size for group in groups)


def _short_of_partners(
    name: str, spec: DeploymentSpec, need: Need, fits: int, groups: Sequence[Group]
) -> CapacityError:
    assert spec.split is not None
    wanted = spec.replicas or 1
    free = sum(len(group.free) for group in groups)
    found = (
        f"{wanted:,} replica{'s' * (wanted != 1)} x {need.partners:,} devices = "
        f"{wanted * need.partners:,}"
    )
    expected = f"at most {fits:,}: pool {spec.split.pool} has {free:,} devices left"
    cure = "fewer replicas, or more racks"
    return CapacityError(Fault(WHERE, f"deployments.{name}.split.pool", found, expected, cure))


def _groups(factory: Factory, members: Iterable[int]) -> list[Group]:
    """Sort the devices of a pool by scale-up domain; one without a domain is alone."""
    groups: dict[tuple[int, int], list[int]] = {}
    domains: list[int] = factory.scale_up_domains.tolist()
    for node in members:
        domain = domains[node]
        groups.setdefault((domain, -1 if domain >= 0 else node), []).append(node)
    return [Group(nodes, len(nodes)) for nodes in groups.values()]


def _take(groups: Sequence[Group], size: int, wanted: int | None, parts: int = 1) -> Replicas:
    """Take devices for as many replicas as are wanted, or as fit."""
    replicas: list[tuple[int, ...]] = []
    largest = max(group.size for group in groups)
    if parts > 1 and size // parts <= largest < size:
        return _take_parts(groups, size // parts, wanted, parts)
    if size > largest:
        free = [node for group in groups for node in group.free]
        for k in range(0, len(free) - size + 1, size):
            if len(replicas) == wanted:
                break
            replicas.append(tuple(free[k : k + size]))
        used = {node for replica in replicas for node in replica}
        for group in groups:
            group.free[:] = [node for node in group.free if node not in used]
        return tuple(replicas)
    for group in groups:
        while len(group.free) >= size and len(replicas) != wanted:
            replicas.append(tuple(group.free[:size]))
            del group.free[:size]
    return tuple(replicas)


def _take_parts(groups: Sequence[Group], size: int, wanted: int | None, parts: int) -> Replicas:
    """Take whole stages or ranks, each inside one domain, for replicas that no domain holds."""
    fitting = sum(len(group.free) // size for group in groups) // parts
    count = fitting if wanted is None else min(wanted, fitting)
    taken = _take(groups, size, count * parts) if count else ()
    return tuple(
        tuple(node for part in taken[k : k + parts] for node in part)
        for k in range(0, len(taken), parts)
    )


def _pool_fault(name: str, spec: DeploymentSpec, factory: Factory) -> Fault | None:
    if spec.pool == CLOUD:
        return _cloud_fault(name, factory)
    split = spec.split
    if split is not None:
        fault = _split_fault(name, spec.pool, split.pool, factory)
        if fault is not None:
            return fault
    key = f"deployments.{name}.pool"
    members = factory.pools.get(spec.pool)
    if members is None:
        return _unknown_pool(key, spec.pool, factory)
    kinds = {factory.kind(node) for node in members}
    if "storage" in kinds:
        return Fault(WHERE, key, f'"{spec.pool}", which is storage', "a pool of GPUs, LPUs or CPUs")
    if spec.role == "tools" and kinds != {"cpu"}:
        host = f"{spec.pool}.cpu"
        cure = f'its hosts are the pool "{host}"' if host in factory.pools else ""
        return Fault(WHERE, key, f'"{spec.pool}", of {_kinds(kinds)}', "a pool of CPUs", cure)
    devices = {factory.devices[node] for node in members}
    if len(devices) > 1:
        found = f'"{spec.pool}", of {", ".join(sorted(devices))}'
        return Fault(WHERE, key, found, "a pool of one device", "give each device its own pool")
    return None


def _cloud_fault(name: str, factory: Factory) -> Fault | None:
    if CLOUD not in factory.pools:
        return None
    key, found = f"deployments.{name}.pool", '"cloud", which a rack of the topology is called too'
    return Fault(WHERE, key, found, "a cloud outside the factory", "give the rack another key")


def _split_fault(name: str, pool: str, other: str, factory: Factory) -> Fault | None:
    """Find what is wrong with the pool of a split."""
    key = f"deployments.{name}.split.pool"
    members = factory.pools.get(other)
    if members is None:
        return _unknown_pool(key, other, factory)
    if other == pool:
        return Fault(WHERE, key, f'"{other}"', "another pool than the deployment's own")
    kinds = {factory.kind(node) for node in members}
    if kinds & {"storage", "cpu"}:
        return Fault(WHERE, key, f'"{other}", of {_kinds(kinds)}', "a pool of GPUs or LPUs")
    if len({factory.devices[node] for node in members}) > 1:
        return Fault(WHERE, key, f'"{other}", of several devices', "a pool of one device")
    return None


def _unknown_pool(key: str, pool: str, factory: Factory) -> Fault:
    near = difflib.get_close_matches(pool, factory.pools, n=1)
    cure = f'did you mean "{near[0]}"?' if near else ""
    pools = ", ".join(factory.pools)
    return Fault(WHERE, key, f'"{pool}"', f"a pool of the topology: {pools}", cure)


def _kinds(kinds: Iterable[str]) -> str:
    return " and ".join(f"{kind.upper()}s" for kind in sorted(kinds))


def _short(
    name: str,
    spec: DeploymentSpec,
    size: int,
    fitting: int,
    groups: Mapping[str, Sequence[Group]],
    taken: Mapping[str, Sequence[str]],
) -> Fault:
    """Tell how many devices are wanted and how many there are."""
    pool = groups[spec.pool]
    total = sum(group.size for group in pool)
    left = fitting * size + sum(len(group.free) for group in pool)
    wanted = spec.replicas or 1
    unit = ("host" if spec.role == "tools" else "replica") + "s" * (wanted != 1)
    each = f" x {size:,} devices = {wanted * size:,}" if size > 1 else ""
    shapes = Counter(group.size for group in pool)
    domains = " + ".join(f"{n:,} x {width:,}" for width, n in shapes.items())
    before = ", ".join(taken[spec.pool])
    expected = f"at most {fitting:,}: pool {spec.pool} has {total:,} devices"
    if spec.role != "tools":
        expected += f" (in scale-up domains: {domains})"
    if before:
        expected += f", of which {left:,} are left (taken: {before})"
    return Fault(
        WHERE,
        f"deployments.{name}.replicas",
        f"{wanted:,} {unit}{each}",
        expected,
        f"fewer replicas, a smaller {_widths(spec)}, or more racks",
    )


def _widths(spec: DeploymentSpec) -> str:
    """Name what makes a replica as large as it is."""
    others = [key for key in ("pp", "dp") if getattr(spec.parallel, key) > 1]
    return " or ".join(["tp", *others])


def check_deployments(
    deployments: Mapping[str, DeploymentSpec],
    llms: Iterable[str],
    streams: Mapping[str, str],
    *,
    disaggregated: bool = False,
) -> None:
    """Refuse what does not go together among deployments and streams.

    Unknown LLMs, tool classes that two deployments run, prefill without decode, decode
    without prefill, and either beside a deployment that does both.

    An LLM needs a deployment that takes prompts of any length, too.

    Parameters
    ----------
    llms
        Keys of the scenario's `llms`.
    streams
        Path below `streams` to the key of an LLM that is there.
    disaggregated
        Whether `serving` says how prefill and decode work together.

    Raises
    ------
    SpecError
        With every fault.
    """
    known = list(llms)
    faults: list[Fault] = []
    for name, spec in deployments.items():
        key = f"deployments.{name}.llm"
        if spec.role != "tools" and spec.llm not in known:
            expected = "a key of `llms`: " + (", ".join(known) or "there is none")
            faults.append(Fault(WHERE, key, f'"{spec.llm}"', expected, _near(spec.llm, known)))
    faults += _class_faults(deployments)
    faults += _lone_roles(deployments)
    if disaggregated and not any(spec.role == "prefill" for spec in deployments.values()):
        expected = "none: every deployment does both prefill and decode"
        cure = "remove it, or add deployments with the roles prefill and decode"
        faults.append(Fault(WHERE, "serving.disaggregation", "settings", expected, cure))
    served = {spec.llm for spec in deployments.values() if spec.role != "tools"}
    for name, llm in streams.items():
        if llm not in served:
            expected = "an LLM that a deployment serves: " + ", ".join(
                sorted(llm for llm in served if llm)
            )
            key = f"streams.{name}"
            faults.append(Fault(WHERE, key, f'"{llm}"', expected, _near(llm, known)))
    faults += _length_faults(deployments)
    if faults:
        raise SpecError(*faults)


def _class_faults(deployments: Mapping[str, DeploymentSpec]) -> list[Fault]:
    """Find tool classes that are named twice, and deployments of all those that nobody names."""
    tools = {name: spec.classes for name, spec in deployments.items() if spec.role == "tools"}
    faults: list[Fault] = []
    taken: dict[str, str] = {}
    for name, classes in tools.items():
        for cls in classes:
            if cls in taken:
                found = f'"{cls}", as of {taken[cls]}'
                key, cure = f"deployments.{name}.classes", "remove it from one of them"
                faults.append(Fault(WHERE, key, found, "each tool class once", cure))
            taken.setdefault(cls, name)
    rest = [name for name, classes in tools.items() if not classes]
    for name in rest[1:]:
        found = f"none, as of {rest[0]}: both would run all classes"
        cure = "say which tools run here, such as `classes: [test_run, build]`"
        key, expected = f"deployments.{name}.classes", "one deployment for all that no other names"
        faults.append(Fault(WHERE, key, found, expected, cure))
    return faults


def _length_faults(deployments: Mapping[str, DeploymentSpec]) -> list[Fault]:
    """Find LLMs that only long prompts may go to."""
    least: dict[str, tuple[int, str]] = {}
    for name, spec in deployments.items():
        if spec.llm is not None:
            above = spec.prompts_above or 0
            least[spec.llm] = min(least.get(spec.llm, (above, name)), (above, name))
    return [
        Fault(
            WHERE,
            f"deployments.{name}.prompts_above",
            f"{above}",
            f"another deployment of {llm} that takes shorter prompts",
            "remove it here, or add a deployment without it",
        )
        for llm, (above, name) in least.items()
        if above
    ]


def _lone_roles(deployments: Mapping[str, DeploymentSpec]) -> list[Fault]:
    """Tell of prefill and decode deployments that lack the other, or do not need it.

    Those of one LLM that take prompts of the same lengths work together.
    """
    roles: dict[tuple[str | None, int], dict[str, str]] = {}
    for name, spec in deployments.items():
        roles.setdefault((spec.llm, spec.prompts_above or 0), {}).setdefault(spec.role, name)
    faults: list[Fault] = []
    for (key_of_llm, above), names in roles.items():
        llm = f"{key_of_llm} and its prompts above {above:,}" if above else key_of_llm
        for role, other in (("prefill", "decode"), ("decode", "prefill")):
            if role in names and other not in names:
                key = f"deployments.{names[role]}.role"
                expected = f"a deployment with the role {other} for {llm} beside it"
                cure = f"add one, or give {names[role]} the role serve"
                faults.append(Fault(WHERE, key, f'"{role}" alone', expected, cure))
        if "serve" in names and len(names) > 1:
            key = f"deployments.{names['serve']}.role"
            others = " and ".join(names[role] for role in ("prefill", "decode") if role in names)
            expected = f"no deployment that does both for {llm}, since {others} share the work"
            cure = "give it an LLM key of its own, or the role prefill or decode"
            faults.append(Fault(WHERE, key, '"serve"', expected, cure))
    return faults


def _near(word: str | None, words: Sequence[str]) -> str:
    close = difflib.get_close_matches(word or "", words, n=1)
    return f'did you mean "{close[0]}"?' if close else ""


def in_deployment(name: str, error: UserError) -> list[Fault]:
    """Say of which deployment the faults of a law or of memory are."""
    return [
        fault._replace(
            where=WHERE,
            key=".".join(part for part in ("deployments", name, fault.key) if part),
            found=f"{fault.where}: {fault.found}",
        )
        for fault in error.faults
    ]
