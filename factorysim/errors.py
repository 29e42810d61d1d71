"""The tree of errors, and the one form in which a fault is told.

::

    FactorysimError
    |-- UserError          exit 2: the user can mend it
    |   |-- SpecError      a file says something wrong: mend the file
    |   |-- TraceError     a trace cannot be read: mend the trace
    |   |-- CapacityError  the plan does not fit: mend the plan
    |   `-- OutputError    the results cannot be written: mend the place
    `-- SimulationError    exit 1: our bug, please report
        `-- AuditError     a run broke a conservation law

Every user error carries all the faults found, not the first one. Exceptions
take positional arguments only, since SimPy rebuilds them from ``args``.
"""

from __future__ import annotations

from typing import NamedTuple


class Fault(NamedTuple):
    """One thing wrong: where, what was found, what was expected, the cure."""

    where: str
    """``path:line``, or the name of what was given."""
    key: str
    """Dotted path inside the file (``streams.code.llm``), or ``""``."""
    found: str
    expected: str
    cure: str = ""

    def __str__(self) -> str:
        key = f"{self.key}: " if self.key else ""
        text = f"{self.where}: {key}found {self.found}, expected {self.expected}"
        return f"{text}\n    {self.cure}" if self.cure else text


class FactorysimError(Exception):
    """Root of everything that factorysim raises on purpose."""


class UserError(FactorysimError):
    """The user's slip: holds every fault that was found, in file order."""

    def __init__(self, *faults: Fault) -> None:
        super().__init__(*faults)
        self.faults = faults

    def __str__(self) -> str:
        return "\n".join(str(fault) for fault in self.faults)


class SpecError(UserError):
    """A file that a user wrote is wrong: mend the file."""


class TraceError(UserError):
    """A trace cannot be read as the format says: mend the trace."""


class CapacityError(UserError):
    """What is asked for does not fit on what is there: mend the plan."""


class OutputError(UserError):
    """The results cannot be written there: mend the place."""


class SimulationError(FactorysimError):
    """The simulator is wrong, not the user: please report."""


class AuditError(SimulationError):
    """A finished run breaks one of its conservation laws."""
