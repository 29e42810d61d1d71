"""Graphs of factories that nobody ships."""

import networkx as nx

BITS = 1.25e8  # B/s of a gigabit


def empty():
    graph = nx.Graph()
    graph.add_node("clients", kind="clients")
    graph.add_node("door", kind="door", power_parent="site")
    graph.add_node("site", kind="site")
    graph.add_edge("clients", "door", kind="client", bandwidth=800 * BITS, latency_s=0.0)
    return graph


def add_rack(graph, name, pool, *, gpus=1, trays=1, to=None, **rack):
    """Add a rack with so many GPUs in each of its trays; every GPU has a link to `to`."""
    graph.add_node(name, kind="rack", power_parent="site", pool=pool, **rack)
    for t in range(trays):
        tray = f"{name}/t{t}"
        graph.add_node(tray, kind="tray", rack=name, power_parent=name)
        for k in range(gpus):
            gpu = f"{tray}/g{k}"
            place = {"rack": name, "tray": tray, "power_parent": tray}
            graph.add_node(gpu, kind="gpu", device="rtx_4090", pool=pool, **place)
            if to is not None:
                kind = "client" if to == "door" else "scale_out"
                graph.add_edge(gpu, to, kind=kind, bandwidth=100 * BITS, latency_s=0.0)


def add_switch(graph, name, kind="leaf_switch", rack="net"):
    if rack not in graph:
        graph.add_node(rack, kind="rack", power_parent="site")
    graph.add_node(name, kind=kind, rack=rack, power_parent=rack)


def link(graph, a, b, gigabits=400):
    graph.add_edge(a, b, kind="scale_out", bandwidth=gigabits * BITS, latency_s=0.0)


def racks_of_one_gpu(pools):
    """A rack with one GPU for each of so many racks a pool, on one leaf."""
    graph = empty()
    add_switch(graph, "leaf")
    link(graph, "door", "leaf")
    for pool, count in pools.items():
        for k in range(count):
            add_rack(graph, f"{pool}/{k}", pool, to="leaf")
    return graph
