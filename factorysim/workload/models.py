"""What draws sessions: an agent, or the twin of a trace, by its file."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from factorysim.errors import Fault, SpecError
from factorysim.spec.twin import TwinSpec

if TYPE_CHECKING:
    import numpy as np

    from factorysim.spec.agent import Effort
    from factorysim.spec.stream import ImagesSpec
    from factorysim.workload.session import Node, StagedNodes

TWIN = "factorysim.twin/1"


class SessionModel(Protocol):
    """What sessions are drawn from."""

    def draw(self, generator: np.random.Generator) -> StagedNodes:
        """Draw one session; all is drawn now, and the generator not kept."""
        ...

    def nodes(self, generator: np.random.Generator) -> list[Node]:
        """Draw one session, and build the whole of it."""
        ...


def session_model(
    name: str, effort: Effort | None = None, images: ImagesSpec | None = None
) -> SessionModel:
    """Make the model of an agent of the catalog, of an agent's file or of a twin's.

    Raises
    ------
    SpecError
        If there is no such agent, with every fault of the file, or if a twin is to
        think at an effort or to see images: it writes and reads as its source did.

    Examples
    --------
    >>> from factorysim.rng import stream
    >>> session_model("chat").nodes(stream(7, 0, "desk", "session", 0))[0].shared_tokens
    500
    """
    from factorysim.workload.twin.model import TwinModel

    twin = find_twin(name)
    if twin is None:
        return _agent_model(name, effort, images)
    asked = {"reasoning_effort": effort, "images": images}
    faults = [
        Fault(name, key, "a value", "none on a twin", "remove it: its source is as it is")
        for key, value in asked.items()
        if value is not None
    ]
    if faults:
        raise SpecError(*faults)
    return TwinModel(twin)


def _agent_model(name: str, effort: Effort | None, images: ImagesSpec | None) -> SessionModel:
    """Make the model of an agent; what is wrong with a user's file is told at its line."""
    from factorysim.workload.agents import AgentModel, find_agent
    from factorysim.yaml_reader import read_yaml

    spec = find_agent(name)
    try:
        return AgentModel(spec, effort, name=name, images=images)
    except SpecError as error:
        if not is_file(name):
            raise
        tree = read_yaml(Path(name))
        told = []
        for fault in error.faults:
            path = fault.key.split(".")
            ours = tree.child(path[0]) is not None  # else it is the stream's
            told.append(fault._replace(where=str(tree.nearest(path))) if ours else fault)
        raise SpecError(*told) from None


class ToolUse(NamedTuple):
    """What the tools of an agent, or of a twin, ask of a factory."""

    memory_bytes: dict[str, float]
    """Of a call of each class."""
    may_fail: bool
    """Whether it is said what follows when one fails."""


def tool_use(name: str) -> ToolUse:
    """Tell what the tools of an agent of the catalog, or of a file, ask for.

    Raises
    ------
    SpecError
        If there is no such agent, or with every fault of the file.

    Examples
    --------
    >>> list(tool_use("customer_service").memory_bytes)[:2]
    ['api_call', 'calculate']
    """
    from factorysim.workload.agents import find_agent
    from factorysim.workload.tools import load_tools

    twin = find_twin(name)
    if twin is not None:
        return ToolUse({cls: tool.memory_bytes for cls, tool in twin.tools.items()}, False)
    agent, classes = find_agent(name), load_tools().tools
    memory = {
        cls: classes[cls].work.memory if cls in classes else 0.0 for cls in agent.tools.shares
    }
    return ToolUse(memory, agent.failures is not None)


def find_twin(name: str) -> TwinSpec | None:
    """Read a twin's file; None if the name is that of an agent.

    Raises
    ------
    SpecError
        With every fault of the file.
    """
    from factorysim.workload.files import read_spec
    from factorysim.yaml_reader import read_yaml

    if not is_file(name):
        return None
    path = Path(name)
    schema = read_yaml(path).entries().get("schema")
    is_twin = schema is not None and schema.value == TWIN
    return read_spec(path, TwinSpec) if is_twin else None


def is_file(name: str) -> bool:
    """Tell a file from the name of an agent of the catalog."""
    return Path(name).suffix in (".yaml", ".yml")
