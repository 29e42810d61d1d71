"""Speculative decoding: cheap drafts, and one step of the LLM that verifies them all.

Before a step, `draft_tokens` tokens are proposed for each sequence; the step computes
them beside the sequence's last token and keeps the longest prefix that it agrees with,
and one token of its own (Leviathan, Kalman and Matias, "Fast Inference from Transformers
via Speculative Decoding", ICML 2023, arXiv:2211.17192). With drafts of length g, each
accepted with probability a given that those before it were, a verify makes ::

    m = 1 + a + a^2 + ... + a^g = (1 - a^(g+1)) / (1 - a)      tokens, on average

(their equation 1). Mean field: every sequence makes the mean, in whole tokens: its first
k verifies `Pace.made(k)` of them. What a verify reads of each context is the mean too, in
parts of a token, so that durations stay linear in k.

A verify is a step of g + 1 tokens a sequence: linear layers, experts and collectives
take them all, the LM head as well; attention reads a context once for all of them, and
does its arithmetic g + 1 times. What the engine does on the host it does once. Drafts
come from a draft LLM, g steps of it, the first of which takes in prompts too, so that
it knows them; or from the LLM's own head for multi-token prediction (MTP, DeepSeek-V3,
arXiv:2412.19437, section 2.2), which is a layer of the LLM, run g times; or from n-grams
of the context, for nothing.

A draft LLM may run on other devices (`DraftSide`): its steps take their time before the
verify as well, and each verify waits for what is sent there and back.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from factorysim.physics.attention import whole_fs
from factorysim.physics.roofline import FREE, RooflineLaw
from factorysim.physics.step import NONE_ACCEPTED, Activity, Piece, StepRuns

if TYPE_CHECKING:
    import numpy.typing as npt

    from factorysim.physics.attention import AttentionCost
    from factorysim.physics.step import StepLaw

    Floats = npt.NDArray[np.float64]

PARTS_MOST = 1000
"""Denominator of mean tokens a verify, at most: the mean is off by 0.0005 at most, and by
less than a millionth of it as a rule."""
ID_BYTES = 4.0
"""Of a token on the link, assumed: a 32-bit number."""
PROBABILITY_BYTES = 4.0
"""Of one token of the vocabulary on the link, assumed: FP32, as softmax gives it."""


class Pace(NamedTuple):
    """How sequences that speculate make tokens: `tokens` of them in so many `verifies`.

    Examples
    --------
    >>> pace = Pace(tokens=12, verifies=5, draft_tokens=3)
    >>> [pace.made(k) for k in range(6)], pace.until(3), pace.until(12)
    ([0, 2, 4, 7, 9, 12], 2, 5)
    """

    tokens: int
    verifies: int
    """Into so many parts a token is cut where contexts are means."""
    draft_tokens: int
    """Proposed for each sequence before each verify."""

    def made(self, verifies: int) -> int:
        """Count the tokens that a sequence has made after so many verifies."""
        return self.tokens * verifies // self.verifies

    def until(self, tokens: int) -> int:
        """Count the verifies after which a sequence has made so many tokens."""
        return -(-tokens * self.verifies // self.tokens)


class Sent(NamedTuple):
    """What the drafts of a sequence send in a verify where other devices make them."""

    size_bytes: float = 0.0
    """Both ways together."""
    seconds: float = 0.0
    """That the link takes for them, latency apart."""


NOTHING_SENT = Sent()


def sent_drafts(at: Pace, vocab: int, bandwidth: float, *, probabilities: bool) -> Sent:
    """Count what goes over the link of `bandwidth` B/s for a sequence in a verify.

    The drafts go, and at most one token more than those comes back: that many were
    accepted, and the one that the LLM adds. With `probabilities` each draft has those of
    all `vocab` tokens with it, which the verify needs if drafts are drawn and not the
    likeliest (Leviathan et al., algorithm 1: a rejected draft's place is drawn from
    ``max(0, p - q)``).

    Examples
    --------
    >>> sent_drafts(Pace(12, 5, 3), 1000, 1e6, probabilities=False)  # 3 and 4 ids
    Sent(size_bytes=28.0, seconds=2.8e-05)
    >>> sent_drafts(Pace(12, 5, 3), 1000, 1e6, probabilities=True).size_bytes
    12028.0
    """
    drafts = at.draft_tokens
    size_bytes = ID_BYTES * (2 * drafts + 1)
    if probabilities:
        size_bytes += PROBABILITY_BYTES * drafts * vocab
    return Sent(size_bytes, size_bytes / bandwidth)


def pace(draft_tokens: int, acceptance: float) -> Pace:
    """Mean pace of drafts of a length, each accepted with a probability.

    The mean is taken from the decimal digits of `acceptance` exactly, and then to the
    nearest fraction with a denominator of at most `PARTS_MOST`.

    Examples
    --------
    >>> pace(3, 0.6)  # 1 + 0.6 + 0.36 + 0.216 = 2.176
    Pace(tokens=272, verifies=125, draft_tokens=3)
    >>> pace(4, 1.0).tokens, pace(4, 0.0).tokens
    (5, 1)
    """
    share = Fraction(repr(acceptance))
    mean = sum((share**k for k in range(draft_tokens + 1)), Fraction(0))
    mean = mean.limit_denominator(PARTS_MOST)
    return Pace(mean.numerator, mean.denominator, draft_tokens)


def pace_of(law: StepLaw) -> Pace | None:
    """Pace of a law; None where it verifies nothing."""
    return law.pace if isinstance(law, SpeculativeLaw) else None


def verified_tokens(law: StepLaw) -> int:
    """Tokens that a step computes for each decode."""
    return law.pace.draft_tokens + 1 if isinstance(law, SpeculativeLaw) else 1


def tokens_a_step(law: object) -> float:
    """Tokens by which a decode's context grows a step, on average."""
    if isinstance(law, SpeculativeLaw | DraftSide):
        return law.pace.tokens / law.pace.verifies
    return 1.0


@dataclass(frozen=True, slots=True)
class SpeculativeLaw:
    """`StepLaw` of verifies, from the law of the LLM and that of what drafts.

    The contexts that decodes read are in parts of a token (`pace.verifies` make one), and
    so is what it says of them: the slope and the knots of a piece, and `window_fs`.
    Token counts are whole.
    """

    verify: StepLaw
    """Of a step of the LLM whose attention is asked as often as tokens are verified."""
    draft: StepLaw | None
    """Of one step of what drafts; None: drafts cost nothing."""
    pace: Pace
    exchange_fs: int = 0
    """Of a verify: latency of tokens on their way from devices that draft elsewhere, and back."""
    beside: bool = False
    """Whether other devices draft: their activity is not counted here, and they take in
    prompts while these do."""
    rollback_s: float = 0.0
    """Of a sequence in a verify: recurrent states kept after each draft, but for the first."""
    rollback_bytes: float = 0.0
    sent: Sent = NOTHING_SENT
    """Of a sequence in a verify, where other devices draft."""

    @property
    def window(self) -> int | None:
        """Of the LLM."""
        return self.verify.window

    @property
    def window_fs(self) -> int:
        """For a part of a token inside the windows, drafts included."""
        whole = self.verify.window_fs
        if self.draft is not None:
            whole += self.pace.draft_tokens * self.draft.window_fs
        return _part(whole, self.pace.verifies)

    @property
    def draws(self) -> bool:
        """As the LLM's law."""
        return self.verify.draws

    @property
    def link_token_bytes(self) -> float:
        """Bytes of collectives for a token that is verified, or of a prompt.

        Drafts are one fewer than the tokens of a verify; they count as many.
        """
        own = 0.0 if self.draft is None or self.beside else self.draft.link_token_bytes
        return self.verify.link_token_bytes + own

    def base(self, decodes: int, prompt_tokens: int, prompts: int, emitting: int) -> int:
        """Femtoseconds of drafting and verifying, attention apart; see `StepLaw.base`."""
        drafts = self.pace.draft_tokens
        more = decodes * drafts
        whole = self.verify.base(decodes, prompt_tokens + more, prompts, emitting + more)
        if self.draft is not None:
            if not self.beside:
                whole += self.draft.base(decodes, prompt_tokens, prompts, emitting)
                drafts -= 1
            elif prompts:  # both take in the prompts at once; the slower one decides
                ending = emitting - decodes
                whole = max(whole, self.draft.base(0, prompt_tokens, prompts, ending))
            if decodes:
                whole += drafts * self.draft.base(decodes, 0, 0, decodes)
        if decodes:
            each_s = self.rollback_s + self.sent.seconds
            whole += self.exchange_fs + whole_fs(decodes * each_s)
        return whole

    def piece(self, decodes: int, context: int) -> Piece:
        """Attention of a verify and its drafts; `context` is in parts of a token.

        The i-th draft of g reads all that the verify will read, but g + 1 - i tokens.
        """
        parts, drafts = self.pace.verifies, self.pace.draft_tokens
        fixed, slope, knot = self.verify.piece(decodes, context // parts)
        if self.draft is not None:
            line = self.draft.piece(decodes, context // parts)
            slope += drafts * line.slope_fs
            fixed += drafts * line.fixed_fs - line.slope_fs * decodes * _unread(drafts)
            if line.knot is not None:
                knot = line.knot if knot is None else min(knot, line.knot)
        return Piece(fixed, _part(slope, parts), None if knot is None else knot * parts)

    def chunk(self, tokens: int, prior: int) -> int:
        """Attention of a chunk, in the LLM and in what drafts on the same devices."""
        own = 0
        if self.draft is not None and not self.beside:
            own = self.draft.chunk(tokens, prior)
        return self.verify.chunk(tokens, prior) + own

    def chunk_slope(self, tokens: int) -> int | None:
        """Growth of `chunk`; None where either is not linear."""
        slope = self.verify.chunk_slope(tokens)
        if self.draft is None or self.beside or slope is None:
            return slope
        own = self.draft.chunk_slope(tokens)
        return None if own is None else slope + own

    def prompt(self, u: float) -> int:
        """As the LLM's law draws."""
        return self.verify.prompt(u)

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of verifies, and of drafts where the same devices make them."""
        whole = self.verify.activity(self._verifies(runs))
        if self.rollback_s:
            # The law counted a state read and written for each token that is verified.
            less = runs.decodes * runs.steps * self.rollback_s
            moved = runs.decodes * runs.steps * self.rollback_bytes
            whole = whole._replace(
                memory_s=whole.memory_s - less, bytes_moved=whole.bytes_moved - moved
            )
        if self.sent.size_bytes:
            sequences = runs.decodes * runs.steps
            whole = whole._replace(
                link_bytes=whole.link_bytes + sequences * self.sent.size_bytes,
                link_s=whole.link_s + sequences * self.sent.seconds,
            )
        if self.draft is None or self.beside:
            return whole
        return Activity(
            *(a + b for a, b in zip(whole, self._drafting(self.draft, runs), strict=True))
        )

    def partner(self) -> DraftSide:
        """Activity of the other devices that draft, in the same steps."""
        assert self.beside
        assert self.draft is not None
        return DraftSide(self.draft, self.pace, self.sent)

    def _verifies(self, runs: StepRuns) -> StepRuns:
        """Count the tokens that runs of verifies compute, instead of those that they make."""
        verified = runs.decodes * (self.pace.draft_tokens + 1)
        ended = runs.emitted_tokens - runs.accepted_tokens - runs.steps * runs.decodes
        computed = np.where(runs.emitted_tokens > 0, runs.steps * verified + ended, 0)
        return runs._replace(decodes=verified, emitted_tokens=computed)

    def _drafting(self, draft: StepLaw, runs: StepRuns) -> Activity:
        """First drafts with the prompts beside them, then the others without."""
        drafts = self.pace.draft_tokens
        made = runs.emitted_tokens - runs.accepted_tokens
        sequences = runs.steps * runs.decodes
        first = runs._replace(
            emitted_tokens=made,
            context_tokens=np.maximum(runs.context_tokens - drafts * sequences, 0),
        )
        whole = draft.activity(first)
        some = np.flatnonzero(runs.decodes > 0)
        if drafts == 1 or not some.size:
            return whole
        nothing = np.zeros(some.size, dtype=np.int64)
        read = (drafts - 1) * runs.context_tokens - sequences * (drafts * (drafts - 1) // 2)
        others = draft.activity(
            StepRuns(
                steps=runs.steps[some] * (drafts - 1),
                decodes=runs.decodes[some],
                prompts=nothing,
                prompt_tokens=nothing,
                emitted_tokens=sequences[some] * (drafts - 1),
                context_tokens=np.maximum(read, 0)[some],
                window_tokens=(drafts - 1) * runs.window_tokens[some],
                pair_tokens=nothing,
                prior_tokens=nothing,
            )
        )
        for total, part in zip(whole, others, strict=True):
            total[some] += part
        return whole


@dataclass(frozen=True, slots=True)
class DraftSide:
    """Activity of devices that draft for others; see `SpeculativeLaw.partner`."""

    law: StepLaw
    """Of one step of the draft LLM there, whose windows, if any, follow the mean context."""
    pace: Pace
    sent: Sent

    def activity(self, runs: StepRuns) -> Activity:
        """Activity of all drafts of runs of verifies, and of taking in their prompts.

        The i-th draft of g reads all that the verify will read, but g + 1 - i tokens.
        """
        drafts = self.pace.draft_tokens
        sequences = runs.steps * runs.decodes
        read = drafts * runs.context_tokens - sequences * _unread(drafts)
        total = Activity(*np.zeros((len(Activity._fields), runs.steps.size)))
        nothing = np.zeros_like(runs.steps)
        drafting = StepRuns(
            steps=runs.steps * drafts,
            decodes=runs.decodes,
            prompts=nothing,
            prompt_tokens=nothing,
            emitted_tokens=sequences * drafts,
            context_tokens=np.maximum(read, 0),
            window_tokens=nothing,
            pair_tokens=nothing,
            prior_tokens=nothing,
        )
        learning = runs._replace(
            decodes=nothing,
            emitted_tokens=nothing,
            context_tokens=nothing,
            window_tokens=nothing,
            accepted_tokens=NONE_ACCEPTED,
        )
        for part, some in ((drafting, runs.decodes > 0), (learning, runs.prompts > 0)):
            where = np.flatnonzero(some)
            if not where.size:
                continue
            picked = StepRuns._make(column[where] if column.size > 1 else column for column in part)
            for whole, share in zip(total, self.law.activity(picked), strict=True):
                whole[where] += share
        return total._replace(link_s=total.link_s + sequences * self.sent.seconds)


def speculative_law(
    law: StepLaw,
    draft: StepLaw | None,
    at: Pace,
    *,
    exchange_fs: int = 0,
    beside: bool = False,
    sent: Sent = NOTHING_SENT,
) -> SpeculativeLaw:
    """Compose the law of an LLM with that of what drafts for it.

    A roofline's attention is made to ask each cached token for all that is verified, and
    its recurrent state to be kept after each token. A fixed law lasts as long as it
    says, drafting included.

    Parameters
    ----------
    draft
        Of one step of the draft LLM or the MTP head; its host work is left out, since
        the engine schedules once a verify. Other kinds of devices have hosts of their own.
    exchange_fs, beside, sent
        Where other devices draft: see `SpeculativeLaw`.
    """
    rollback_s = rollback_bytes = 0.0
    if isinstance(law, RooflineLaw):
        kept = at.draft_tokens / 2  # a state is read and written; each further one written
        rollback_s = kept * law.state_s
        rollback_bytes = rollback_s * law.rates.weights * law.devices
        law = verifying(law, at.draft_tokens + 1)
    if isinstance(draft, RooflineLaw):
        draft = replace(draft, engine=FREE)
    return SpeculativeLaw(law, draft, at, exchange_fs, beside, rollback_s, rollback_bytes, sent)


def verifying(law: RooflineLaw, queries: int) -> RooflineLaw:
    """Make decode attention ask each cached token `queries` times, and read it once.

    As a short chunk of a prompt does, which is what a verify is to the kernel: the
    queries of a sequence share each block of keys and values that is read (Dao et al.,
    "FlashAttention", NeurIPS 2022, arXiv:2205.14135, algorithm 1).
    """

    def asked(cost: AttentionCost) -> AttentionCost:
        return cost._replace(decode_s=queries * cost.decode_s)

    full, local, totals = asked(law.full), asked(law.local), law.totals
    return replace(
        law,
        full=full,
        local=local,
        totals=totals._replace(context=queries * totals.context, window=queries * totals.window),
        slope_fs=whole_fs(full.slope_s),
        line=Piece(0, whole_fs(full.slope_s), None),
        window_fs=whole_fs(local.slope_s),
    )


def _part(whole_fs: int, parts: int) -> int:
    """Femtoseconds of one of so many parts of a token."""
    return (2 * whole_fs + parts) // (2 * parts)


def _unread(drafts: int) -> int:
    """Tokens that the steps of drafting do not read yet, of those that the verify reads."""
    return drafts * (drafts + 1) // 2
