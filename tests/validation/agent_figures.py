"""What generated sessions come to, a row a session, with intervals from resampled sessions."""

from functools import cache
from itertools import pairwise

import numpy as np
from scipy.special import ndtri

from factorysim.workload.agents import AgentModel, load_agent
from factorysim.workload.draws import KeyedUniforms
from factorysim.workload.session import GapNode, LlmNode, ToolNode

RESAMPLES = 400
TTL_S = (60.0, 300.0, 3600.0)


class Interval(tuple):
    """Value, low and high of a figure: the central 99.8 % over resampled sessions."""

    def near(self, low, high=None):
        """Whether it meets a published value, or a published range."""
        _, least, most = self
        return least <= (low if high is None else high) and most >= low

    def within(self, low, high):
        """Whether all of it lies in a published range."""
        return low <= self[1] and self[2] <= high


class Figures:
    """A pass over many sessions: sums of each, and values of calls and tools with their session.

    Parameters
    ----------
    step_s
        Median, P90 and P99 of an LLM call's duration, which time-outs of a cache feel too.
    """

    def __init__(self, model, sessions, key, step_s=None):
        self.count = sessions
        self.sums = {}
        self.values = {}
        uniforms = KeyedUniforms(2026, 0, key)
        for ordinal in range(sessions):
            nodes = model.nodes(uniforms.at("session", ordinal))
            spent = self._steps(step_s, len(nodes), uniforms, ordinal)
            self._sum(nodes, spent)
            self._note(ordinal, nodes)

    @staticmethod
    def _steps(step_s, count, uniforms, ordinal):
        """Durations of calls: lognormal between the quantiles, and on as before and after them."""
        if step_s is None:
            return np.zeros(count)
        normals = ndtri(uniforms.at("step", ordinal).random(count))
        at, known = ndtri((0.5, 0.9, 0.99)), np.log(step_s)
        slopes = np.diff(known) / np.diff(at)
        body = known[0] + slopes[0] * (normals - at[0])
        tail = known[1] + slopes[1] * (normals - at[1])
        return np.exp(np.where(normals < at[1], body, tail))

    def _sum(self, nodes, spent):
        calls = [node for node in nodes if isinstance(node, LlmNode)]
        tools = [node for node in nodes if isinstance(node, ToolNode)]
        row = {
            "calls": len(calls),
            "own": sum(call.context == 0 for call in calls),
            "tools": len(tools),
            "turns": 1 + sum(isinstance(node, GapNode) for node in nodes),
            "user": sum(call.initiator == "user" for call in calls),
            "prompt": sum(call.prompt_tokens for call in calls),
            "output": sum(call.output_tokens for call in calls),
            "hit": sum(call.prefix_tokens for call in calls),
            "hit_shared": sum(max(call.prefix_tokens, call.shared_tokens) for call in calls),
            "handed": sum(tool.cls == "transfer_to_human" for tool in tools),
        }
        row |= {f"hit_{ttl:g}": 0 for ttl in TTL_S}
        for call, idle_s in zip(calls, idle(nodes, spent), strict=True):
            for ttl in TTL_S:
                row[f"hit_{ttl:g}"] += call.prefix_tokens if idle_s <= ttl else 0
        grown = steps = 0
        for chain in chains(calls):
            steps += len(chain) - 1
            grown += sum(b.prompt_tokens > a.prompt_tokens for a, b in pairwise(chain))
        row |= {"steps": steps, "grown": grown, "sub": len({call.context for call in calls}) - 1}
        for name, value in row.items():
            self.sums.setdefault(name, []).append(value)

    def _note(self, ordinal, nodes):
        calls = [node for node in nodes if isinstance(node, LlmNode)]
        own, *others = chains(calls)
        self._add("first", ordinal, [own[0].prompt_tokens])
        self._add("end", ordinal, [own[-1].prompt_tokens])
        self._add("worker_first", ordinal, [chain[0].prompt_tokens for chain in others])
        self._add("worker_end", ordinal, [chain[-1].prompt_tokens for chain in others])
        self._add("worker_calls", ordinal, [len(chain) for chain in others])
        self._add("prompts", ordinal, [call.prompt_tokens for call in calls])
        self._add("outputs", ordinal, [call.output_tokens for call in calls])
        tools = [node for node in nodes if isinstance(node, ToolNode)]
        self._add("tool_s", ordinal, [t.cpu_s / t.cores + t.remote_ns / 1e9 for t in tools])
        self._add("tool_tokens", ordinal, [tool.result_tokens for tool in tools])
        self._add("tool_cls", ordinal, [tool.cls for tool in tools])
        gaps = [node for node in nodes if isinstance(node, GapNode)]
        self._add("gap_s", ordinal, [gap.delay_ns / 1e9 for gap in gaps])
        self._add("gap_cls", ordinal, [gap.cls for gap in gaps])

    def _add(self, name, ordinal, values):
        kept, owners = self.values.setdefault(name, ([], []))
        kept += values
        owners += [ordinal] * len(values)

    def of(self, name):
        """All values of a name, or sums of a session, as an array."""
        return np.array(self.values[name][0] if name in self.values else self.sums[name])

    def mean(self, name):
        """Mean of a sum per session."""
        return self.ratio(name, np.ones(self.count))

    def ratio(self, part, whole):
        """Sum of one over the sum of another."""
        a, b = (self.of(n) if isinstance(n, str) else np.asarray(n) for n in (part, whole))
        weights = self._weights()
        return spread(a.sum() / b.sum(), (weights @ a) / (weights @ b))

    def quantile(self, name, q):
        """Quantile of values, or of sums per session."""
        values = self.of(name)
        owners = np.array(self.values[name][1]) if name in self.values else np.arange(self.count)
        order = values.argsort(kind="stable")
        values, owners = values[order], owners[order]
        found = []
        for weight in self._weights():
            passed = np.cumsum(weight[owners])
            found.append(values[min(np.searchsorted(passed, q * passed[-1]), len(values) - 1)])
        return spread(np.quantile(values, q), np.array(found))

    def share(self, name, chosen, weigh=None):
        """Share of the values that a mask chooses, by number or by weight."""
        values, owners = self.of(name), np.array(self.values[name][1])
        weigh = np.ones(len(values)) if weigh is None else weigh
        part = np.bincount(owners, weigh * chosen(values), self.count)
        return self.ratio(part, np.bincount(owners, weigh, self.count))

    def _weights(self):
        generator = np.random.default_rng(7)
        return generator.multinomial(
            self.count, np.full(self.count, 1 / self.count), size=RESAMPLES
        )


def spread(value, found):
    """Give the interval of a figure."""
    low, high = np.quantile(found, (0.001, 0.999))
    return Interval((float(value), float(low), float(high)))


def chains(calls):
    """Calls of each context, that of the agent first."""
    found = {}
    for call in calls:
        found.setdefault(call.context, []).append(call)
    return [found[context] for context in sorted(found)]


def idle(nodes, spent):
    """Seconds since the cache of each call was last used: at the end of the last of its context.

    So a caller's cache waits as long as its sub-agents take. That of a context's first call
    waits for what the call waits for.
    """
    ends, used, waits = [], {}, []
    for place, node in enumerate(nodes):
        began = max((ends[before] for before in node.after), default=0.0)
        ends.append(began + length(node, spent[place]))
        if isinstance(node, LlmNode):
            longest = max((length(nodes[i], spent[i]) for i in node.after), default=0.0)
            since = used.get(node.context, began - longest)
            waits.append(ends[-1] - since)
            used[node.context] = ends[-1]
    return waits


def length(node, spent_s):
    """Seconds that a node takes, on idle hosts."""
    match node:
        case GapNode():
            return node.delay_ns / 1e9
        case ToolNode():
            return node.cpu_s / node.cores + node.remote_ns / 1e9
    return spent_s


@cache
def figures(name, sessions=1500, effort=None, step_s=None):
    """Figures of a shipped agent; the same object for all tests that ask alike."""
    return Figures(AgentModel(load_agent(name), effort), sessions, name, step_s)
