"""I/O work: TLS, packets and storage, and whose cores do it."""

from __future__ import annotations

from typing import Literal, Self, TypeAlias, get_args

from pydantic import model_validator

from factorysim.spec.base import Bytes, Spec, refuse

Where: TypeAlias = Literal["none", "host", "dpu"]
"""On nobody's cores (it costs nothing), on the host CPUs, on the DPU of the tray."""
IoKind: TypeAlias = Literal["tls", "packets", "storage"]
IO_KINDS: tuple[IoKind, ...] = get_args(IoKind)


class IoWorkSpec(Spec):
    """Who does the work behind bytes that come in at the door or go to stores.

    A kind that is on `none` costs nothing, as all of them do where nothing is given.
    """

    tls: Where = "none"
    """Encryption of what crosses the door: prompts, answers, messages of tools."""
    packets: Where = "none"
    """The network stack under the same bytes."""
    storage: Where = "none"
    """NVMe-oF, checksums and encryption of KV on its way to and from tiers behind a driver
    (`nvme`, `cmx`, `storage`), and of what tools read and write."""
    tool_bytes: Bytes = 0.0
    """That tools read from stores and write there in a core-second of their work; no trace
    tells, so none where not given."""

    @property
    def busy(self) -> bool:
        """Whether any of it costs something."""
        return any(self.where(kind) != "none" for kind in IO_KINDS)

    def where(self, kind: IoKind) -> Where:
        """Tell who does one kind of work."""
        match kind:
            case "tls":
                return self.tls
            case "packets":
                return self.packets
            case "storage":
                return self.storage

    @model_validator(mode="after")
    def _bytes_cost_something(self) -> Self:
        if self.tool_bytes and self.storage == "none":
            expected = "nothing, since storage is none and bytes of stores cost nothing"
            cure = "remove it, or take `storage: host` or `storage: dpu`"
            raise refuse("tool_bytes", f"{self.tool_bytes:g} B", expected, cure)
        return self
