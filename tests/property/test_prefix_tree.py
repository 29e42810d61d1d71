"""The prefix tree against a model that knows each block by the whole path to it.

Every block of the model is an entry of a dict; the tree has to have the same
blocks, locked by as many, and to forget them in the same order.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given, settings
from hypothesis import strategies as st

from factorysim.sim.call import Call
from factorysim.sim.prefix import Extent, PrefixTree, path

if TYPE_CHECKING:
    from factorysim.workload.content import Runs

Ids = tuple[int, ...]
CALLS = 4


class BlockModel:
    """Cached blocks by path: who has each locked, and the unlocking since which nobody has."""

    def __init__(self) -> None:
        self.lockers: dict[Ids, set[int]] = {}
        self.stamps: dict[Ids, int] = {}
        self.unlockings = 0

    def match(self, ids: Ids, most: int) -> tuple[int, int]:
        found = 0
        while found < min(len(ids), most) and ids[: found + 1] in self.lockers:
            found += 1
        return found, sum(not self.lockers[ids[:n]] for n in range(1, found + 1))

    def register(self, caller: int, ids: Ids, begin: int, upto: int) -> int:
        duplicates = 0
        for n in range(begin + 1, min(upto, len(ids)) + 1):
            duplicates += ids[:n] in self.lockers
            self.lockers.setdefault(ids[:n], set()).add(caller)
        return duplicates

    def unlock(self, caller: int) -> None:
        self.unlockings += 1
        for block, lockers in self.lockers.items():
            if caller in lockers:
                lockers.remove(caller)
                self.stamps[block] = self.unlockings

    def evict(self) -> None:
        inner = {block[:-1] for block in self.lockers}
        leaves = [b for b, lockers in self.lockers.items() if not lockers and b not in inner]
        del self.lockers[min(leaves, key=self.stamps.__getitem__)]

    def evictable(self) -> int:
        return sum(not lockers for lockers in self.lockers.values())


def named(runs: Runs) -> Ids:
    return tuple(block for first, count in runs for block in range(first, first + count))


def blocks_of(tree: PrefixTree) -> dict[Ids, int]:
    """Spell out every extent: path to each block -> how many have it locked."""
    found: dict[Ids, int] = {}

    def walk(extent: Extent, before: Ids) -> None:
        for n in range(1, extent.count + 1):
            found[before + tuple(range(extent.first, extent.first + n))] = extent.refs
        here = before + tuple(range(extent.first, extent.first + extent.count))
        for first, child in extent.children.items():
            assert child.first == first
            assert child.parent is extent
            assert child.count > 0
            walk(child, here)

    walk(tree.root, ())
    return found


class Pair:
    """The tree and the model, asked the same."""

    def __init__(self, contents: list[Runs]) -> None:
        self.tree = PrefixTree()
        self.model = BlockModel()
        self.calls = [
            Call(number, 0, 1, 1, content=content) for number, content in enumerate(contents)
        ]

    def do(self, action: str, number: int, blocks: int) -> None:
        tree, model, call = self.tree, self.model, self.calls[number]
        ids = named(call.content)
        if action == "lock" and call.leaf is None:
            found = tree.match(call.content, blocks)
            assert found[:2] == model.match(ids, blocks)
            model.register(number, ids, 0, found[0])
            if found[0]:
                tree.lock(call, found)
        elif action == "register":
            begin, upto = call.shared, call.shared + blocks
            follows = model.match(ids, begin + 1)[0] > begin
            assert tree.follows(call) == follows
            assert tree.register(call, upto) == model.register(number, ids, begin, upto)
            assert call.shared == max(begin, min(upto, len(ids)))
        elif action == "unlock" and call.leaf is not None:
            tree.unlock(call)
            model.unlock(number)
        elif action == "evict":
            blocks = min(blocks, tree.evictable)
            tree.evict(blocks)
            for _ in range(blocks):
                model.evict()

    def check(self) -> None:
        tree, model = self.tree, self.model
        assert blocks_of(tree) == {b: len(lockers) for b, lockers in model.lockers.items()}
        assert tree.evictable == model.evictable()
        for call in self.calls:
            assert sum(extent.count for extent in path(call.leaf)) == call.shared
            assert (call.leaf is None) == (call.shared == 0)

    def drain(self) -> None:
        """Evict block by block, in the order of the model."""
        while self.tree.evictable:
            self.do("evict", 0, 1)
            self.check()


TRUNKS: list[Runs] = [((0, 8),), ((0, 4), (4, 3)), ((0, 2), (20, 5)), ((1, 2),)]
TAILS = st.lists(st.tuples(st.integers(0, 2), st.integers(1, 4)), max_size=2).map(tuple)
CONTENTS = st.lists(
    st.tuples(st.sampled_from(TRUNKS), TAILS).map(lambda parts: parts[0] + parts[1]),
    min_size=CALLS,
    max_size=CALLS,
)
ACTIONS = st.sampled_from(["lock", "lock", "register", "register", "unlock", "evict"])
STORIES = st.lists(
    st.tuples(ACTIONS, st.integers(0, CALLS - 1), st.integers(0, 9)), min_size=10, max_size=40
)


@settings(deadline=None, derandomize=True, database=None, max_examples=600)
@given(CONTENTS, STORIES)
def test_the_tree_is_the_model_whatever_is_done(contents, story):
    pair = Pair(contents)
    for action in story:
        pair.do(*action)
        pair.check()
    for number in range(CALLS):
        pair.do("unlock", number, 0)
    pair.check()
    pair.drain()
    assert not blocks_of(pair.tree)
