"""A call as a replica sees it, and the rules that the replica serves it by."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Protocol, TypeAlias

from factorysim.workload.content import SESSION_BITS

if TYPE_CHECKING:
    from factorysim.physics.speculation import Pace
    from factorysim.physics.vision import Encoder
    from factorysim.sim.prefix import Extent
    from factorysim.sim.replica import Replica
    from factorysim.sim.router import Router
    from factorysim.sim.tiers import Fetch
    from factorysim.workload.runs import Runs

UNNAMED = -1
"""`Call.run` of a call without content that only itself may find again, once preempted."""
_ALONE = 1 << 512
"""Ids of calls that are named when they are preempted: far from all that others give."""
WAITING, PARTIAL, DECODING, GONE, MOVING, KEPT, FETCHING = range(7)
"""States of a call: in the queue, its prompt under way, making tokens, done with; its blocks
set aside for KV that is on its way from another replica; all its tokens made, but kept until
its batch ends; out of the queue until what it gets from slower tiers has landed."""

Scheduler: TypeAlias = Literal[
    "vllm", "prefill_first", "sarathi", "sglang", "orca", "static", "trtllm"
]


class Tuning(NamedTuple):
    """Rules that one scheduler reads and the others do not; `spec.serving` says more of them."""

    prefill_every: int = 1
    """`vllm`: one step in so many may hold prompts, while there are decodes."""
    mixed_chunk: bool = False
    """`sglang`: decodes go on beside prompts."""
    conservativeness: float = 1.0
    """`sglang`: by which the estimate of tokens to come is scaled."""
    decay_steps: int = 600
    """`sglang`: in which that estimate falls to its least. SGLang 0.4.6, `global_config.py`."""
    reserve: Literal["oracle", "pow2"] | int = "oracle"
    """`orca`: KV set aside for what a call may make; a number is that of all sequences."""
    max_queue_delay_fs: int = 0
    """`static`: how long the oldest call waits for a batch to fill."""


class Limits(NamedTuple):
    """The serving engine's rules on one replica."""

    block_tokens: int
    blocks: int
    token_budget: int
    max_sequences: int
    scheduler: Scheduler = "vllm"
    order: Literal["fcfs", "priority"] = "fcfs"
    retain: Literal["shared", "session", "none"] = "shared"
    """Whether prefixes are cached; with `none` what calls hold is ignored."""
    stepwise: bool = False
    """Walk every step instead of runs of them: the same, slower."""
    role: Literal["serve", "prefill", "decode"] = "serve"
    watched: bool = False
    """Whether a router looks into the cache: then no run goes on where it changes."""
    tuning: Tuning = Tuning()
    context_tokens: int | None = None
    """Prompt and output of a call together, at most: the LLM's context; None: no bound."""
    encoder: Encoder | None = None
    """Of images; None: their tokens are like any others."""
    cache_outputs: bool = True
    """Whether what a call answers can be found again, before it comes in a prompt."""
    pace: Pace | None = None
    """Of decodes that speculate, as of the law."""


class Elsewhere(Protocol):
    """How a prompt is computed elsewhere, as the replica sees it that will decode the call."""

    context: int
    """Tokens whose KV comes from there."""
    asked_fs: int | None
    """When the decode replica was asked for blocks."""

    @property
    def first_made(self) -> bool:
        """Whether the first token is made there."""
        ...

    def reserved(self, held_tokens: int, /) -> None:
        """Go on, now that there are blocks for what is to come."""
        ...

    def joins(self, now_fs: int, /) -> None:
        """Note that the call decodes from now on."""
        ...


class Call:
    """One LLM call: what is asked, and what became of it.

    Written out by hand, since a dataclass of so many fields takes three times as
    long to make.
    """

    __slots__ = (
        "asked_fs",
        "computed_tokens",
        "content",
        "context",
        "emitted_fs",
        "end",
        "fetch",
        "fetch_fs",
        "fetch_stall_fs",
        "first_stall_fs",
        "first_token_fs",
        "handoff",
        "held_fs",
        "hit_tokens",
        "image_tokens",
        "joined",
        "known",
        "kv_fs",
        "last",
        "last_token_fs",
        "leaf",
        "number",
        "open",
        "outcome",
        "output_made",
        "output_tokens",
        "peak",
        "phase",
        "preemptions",
        "prefix_tokens",
        "priority",
        "prompt_tokens",
        "queued_fs",
        "recomputed_tokens",
        "route_u",
        "router",
        "run",
        "scheduled_fs",
        "server",
        "session",
        "shared",
        "stall_fs",
        "state",
        "tag",
        "u",
    )

    # Of a call that decodes; there is nothing to set before it joins, or is preempted.
    joined: int
    """The replica's tick at which it began to decode."""
    phase: int
    """(context - tick) mod block: which steps need a block."""
    emitted_fs: int
    """Instant of the token with which it joined; of its preemption, if none was made."""
    route_u: float
    """Uniform for the router, where its policy draws."""

    router: Router
    """Who sends it, where its stream has several routers, or where calls may be refused."""

    def __init__(
        self,
        number: int,
        session: int,
        prompt_tokens: int,
        output_tokens: int,
        prefix_tokens: int = 0,
        priority: int = 0,
        last: bool = False,
        u: float = 0.5,
        tag: Any = None,  # noqa: ANN401
        content: Runs = (),
    ) -> None:
        self.number = number
        """Ascending in the order of submission; breaks every tie."""
        self.session = session
        self.prompt_tokens = prompt_tokens
        self.output_tokens = output_tokens
        self.prefix_tokens = prefix_tokens
        """What repeats the session's last context, as routers are told."""
        self.priority = priority
        self.last = last
        """No call of the session follows, so routers may forget it."""
        self.u = u
        """Uniform for laws that draw."""
        self.tag = tag
        """Whatever the caller needs when the call comes back."""
        self.content = content
        """Ids of the full blocks of its prompt and output, as far as they are named."""
        self.image_tokens = 0
        """Of the prompt, to be encoded in the step that ends it."""
        self.asked_fs = 0
        """When its session asked."""
        self.server: Replica | None = None
        """Where the router sent it."""
        self.held_fs = 0
        """Spent in the router's own queue."""

        self.queued_fs: int | None = None
        self.scheduled_fs: int | None = None
        self.first_token_fs: int | None = None
        self.last_token_fs: int | None = None
        self.hit_tokens = 0
        self.computed_tokens = 0
        """Prompt tokens computed for the first time."""
        self.recomputed_tokens = 0
        """Tokens computed again after a preemption."""
        self.output_made = 0
        """Tokens made until the call joined the decodes, or left."""
        self.preemptions = 0
        self.stall_fs = 0
        """From preemptions to the next token."""
        self.first_stall_fs = 0
        """The part of it before the first token."""
        self.fetch_fs = 0
        """Spent waiting for blocks from slower tiers."""
        self.fetch_stall_fs = 0
        """The part of it after preemptions."""
        self.handoff: Elsewhere | None = None
        """How its prompt is computed elsewhere, if it is."""
        self.kv_fs = 0
        """From there: after the prompt until it decodes."""
        self.outcome = ""

        self.state = WAITING
        self.known = prompt_tokens
        """Prompt plus tokens made: what must be computed before the next token."""
        self.context = 0
        """Tokens in the KV cache: of a decode at its join, else now."""
        self.peak = 0
        """The most tokens that were ever in the cache."""
        self.open = False
        """Whether its sliding window still grows."""
        self.fetch: Fetch | None = None
        """What it gets from slower tiers; None until that is decided."""

        self.leaf: Extent | None = None
        """Where its path through the prefix cache ends; None while it has none."""
        self.shared = 0
        """Blocks on that path: those of its context that belong to the cache."""
        self.run = 0
        """Runs of `content` that the path has entered, the last of them perhaps in part."""
        self.end = 0
        """Blocks of those runs."""


def name_alone(call: Call, block_tokens: int, *, outputs: bool) -> None:
    """Name the blocks of a call that shares them with nobody, from now on.

    It is about to lose them, and is the only one that may find them again. Named from
    the first, as those of others, they would be in the same place now; most calls are
    never preempted, and pay nothing.
    """
    tokens = call.prompt_tokens
    if outputs:
        tokens += call.output_tokens
    first = _ALONE + (call.number << SESSION_BITS)
    call.content, call.run = ((first, tokens // block_tokens),), 0


def find_again(call: Call, tokens: int) -> None:
    """Credit what a call that was preempted found beyond all that it ever had cached."""
    if tokens > call.peak:
        prompt = call.prompt_tokens
        call.hit_tokens += min(tokens, prompt) - min(call.peak, prompt)
        call.peak = tokens


def compute_again(call: Call, tokens: int) -> int:
    """Credit tokens of a prompt that was preempted; returns those computed before."""
    fresh = max(min(call.context, call.prompt_tokens) - call.peak, 0)
    call.computed_tokens += fresh
    call.recomputed_tokens += tokens - fresh
    call.peak = max(call.peak, call.context)
    return tokens - fresh


def by_number(call: Call) -> int:
    """Order of submission: breaks every tie."""
    return call.number


def by_priority(call: Call) -> tuple[int, int]:
    """Order of priority, and then of submission."""
    return (call.priority, call.number)
