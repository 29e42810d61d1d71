"""Sessions that go stage by stage: what they are as a whole, and that nothing is kept."""

from factorysim.workload.session import GapNode, LlmNode, StagedNodes, ToolNode


def stages():
    yield [LlmNode(10, 5)]
    yield [ToolNode("a", cpu_s=1.0), ToolNode("b", cpu_s=2.0)]
    yield [LlmNode(20, 5)]
    yield [GapNode(7)]


def test_the_whole_waits_stage_for_stage():
    nodes = StagedNodes(2, stages)
    assert [node.after for node in nodes] == [(), (0,), (0,), (1, 2), (3,)]
    assert nodes.whole() == [
        LlmNode(10, 5),
        ToolNode("a", cpu_s=1.0, after=(0,)),
        ToolNode("b", cpu_s=2.0, after=(0,)),
        LlmNode(20, 5, after=(1, 2)),
        GapNode(7, after=(3,)),
    ]


def test_it_reads_like_the_list_that_it_stands_for():
    nodes = StagedNodes(2, stages)
    assert len(nodes) == 5
    assert nodes[-1] == GapNode(7, after=(3,))
    assert nodes[1:3] == nodes.whole()[1:3]
    assert nodes == StagedNodes(2, stages) == nodes.whole()
    assert nodes != nodes.whole()[:-1]
    assert nodes != "a session"


def test_each_reading_is_anew_so_that_nobody_spoils_it_for_the_next():
    nodes = StagedNodes(2, stages)
    nodes[0].prompt_tokens = 999
    next(nodes.stages())[0].prompt_tokens = 999
    assert nodes[0] == LlmNode(10, 5)


def test_a_long_session_numbers_its_nodes_on():
    nodes = StagedNodes(5000, lambda: ([LlmNode(1, 1)] for _ in range(5000)))
    assert [node.after for node in nodes.whole()[4094:4099]] == [(i,) for i in range(4093, 4098)]
