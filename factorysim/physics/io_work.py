"""Core-seconds behind bytes: TLS, packets, storage.

``core-seconds = bytes * a + operations * b``, where an operation is a TLS record, a
packet, or a read or write of a store, and holds so many bytes at most. In cycles, a
and b are ``cycles / Hz`` of the core that does the work. Where a vendor states
throughputs instead (so many cores for so many bytes a second, or operations a
second), they are cores over throughput; each of the two figures holds some of the
other, so their sum is not less than either.
"""

from __future__ import annotations

from typing import NamedTuple


class IoCost(NamedTuple):
    """Of one kind of work on one kind of core."""

    byte_s: float
    """Core-seconds of a byte."""
    operation_s: float
    """Core-seconds of an operation."""
    operation_bytes: float
    """That one operation holds, at most."""

    def work_s(self, size_bytes: float, messages: int = 1) -> float:
        """Core-seconds of so many bytes in equal messages, none of them without an operation.

        Examples
        --------
        >>> cost = cost_of_cycles(2.0, 1000.0, hz=1e9, operation_bytes=1000)
        >>> round(cost.work_s(2500) * 1e9)  # three operations
        8000
        >>> round(cost.work_s(40, messages=10) * 1e9)
        10080
        """
        count = operations(size_bytes, messages, self.operation_bytes)
        return size_bytes * self.byte_s + count * self.operation_s


def operations(size_bytes: float, messages: int, most_bytes: float) -> int:
    """Count operations: each message takes as many as its bytes need, one at least.

    Examples
    --------
    >>> operations(3000.0, 1, 1500.0), operations(3001.0, 1, 1500.0), operations(0.0, 2, 1500.0)
    (2, 3, 2)
    """
    if messages <= 0:
        return 0
    return messages * max(1, -int(-size_bytes // (messages * most_bytes)))


def cost_of_cycles(
    byte_cycles: float, operation_cycles: float, *, hz: float, operation_bytes: float
) -> IoCost:
    """Cost on a core of which the clock is known.

    Examples
    --------
    >>> cost_of_cycles(1.0, 500.0, hz=2e9, operation_bytes=4096)
    IoCost(byte_s=5e-10, operation_s=2.5e-07, operation_bytes=4096)
    """
    return IoCost(byte_cycles / hz, operation_cycles / hz, operation_bytes)
