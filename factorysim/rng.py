"""One seed, keyed streams: randomness by what is drawn and for whom.

A stream is a counter-based Philox generator whose key is a hash of *what* is
drawn (stream, client, ordinal, path, purpose), never of when. A changed router
or a faster rack therefore meets the same demand, whatever the order of events
(common random numbers).

References
----------
.. [1] Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

KeyPart = str | int
"""One part of a key: a name or a number."""


def key_bytes(seed: int, *parts: KeyPart, size: int = 16) -> bytes:
    """Hash a seed and the parts of a key, stable over runs and platforms."""
    text = "\x1f".join(f"{type(part).__name__[0]}{part}" for part in (seed, *parts))
    return blake2b(text.encode(), digest_size=size).digest()


def stream(seed: int, *parts: KeyPart) -> np.random.Generator:
    """Return the generator of one purpose.

    Examples
    --------
    >>> a = stream(7, "arrivals", "code", 0)
    >>> b = stream(7, "arrivals", "code", 0)
    >>> a.random() == b.random()
    True
    >>> stream(7, "arrivals", "code", 1).random() == a.random()
    False
    """
    import numpy as np

    key = int.from_bytes(key_bytes(seed, *parts), "little")
    return np.random.Generator(np.random.Philox(key=key))


def uniform(seed: int, *parts: KeyPart) -> float:
    """One uniform in (0, 1), without the cost of a generator.

    Examples
    --------
    >>> 0 < uniform(7, "service", 3) < 1
    True
    """
    word = int.from_bytes(key_bytes(seed, *parts, size=8), "little")
    return ((word >> 11) + 0.5) * 2.0**-53
