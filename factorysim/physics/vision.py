"""Images: what their encoder takes before an LLM can read them.

An encoder is a transformer whose weights each patch passes once: 2 FLOP a weight
and patch, in BF16, cut evenly over the devices of a replica, and one read of its
weights at least. Attention between the patches of an image is left out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from factorysim.physics.attention import whole_fs

if TYPE_CHECKING:
    from factorysim.catalog.efficiency import Efficiency
    from factorysim.catalog.values import Device, Vision

WEIGHT_BYTES = 2.0
"""Of a weight: encoders ship in BF16, whatever the LLM is held in; assumed."""


class Encoder(NamedTuple):
    """Time of a replica's vision encoder, in whole femtoseconds."""

    token_fs: int
    """Per image token of a prompt."""
    read_fs: int
    """To read the weights once: the least that a prompt with images takes."""

    def time_fs(self, image_tokens: int) -> int:
        """Femtoseconds for all images of a prompt.

        Examples
        --------
        >>> Encoder(10, 500).time_fs(20), Encoder(10, 500).time_fs(80)
        (500, 800)
        """
        return max(image_tokens * self.token_fs, self.read_fs)


def encoder_of(
    vision: Vision, device: Device, compute: str, tp: int, efficiency: Efficiency
) -> Encoder:
    """Build the encoder of a replica of `tp` devices, at the BF16 rate where they have it."""
    form = "bf16" if "bf16" in device.flops else compute
    flops = tp * device.flops[form] * efficiency.linear_compute[form]
    bandwidth = tp * device.memory_bandwidth * efficiency.weight_bandwidth
    token_s = 2.0 * vision.params * vision.patches_per_token / flops
    return Encoder(whole_fs(token_s), whole_fs(encoder_bytes(vision) / bandwidth))


def encoder_bytes(vision: Vision) -> float:
    """Bytes of the encoder's weights, all devices together."""
    return vision.params * WEIGHT_BYTES
