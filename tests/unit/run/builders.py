"""A queue of one server as a scenario: small enough to run in a test."""

import copy

from factorysim.spec.scenario import ScenarioSpec


def mm1(rate="0.5 /s", servers=1, streams=("calls",), slo=True, **run):
    """Poisson calls of one token, exponential prompts of a mean second, one at a time."""
    one = {"mean": 1}
    stream = {
        "llm": "any",
        "calls": {"prompt_tokens": one, "output_tokens": one},
        "arrivals": {"process": "poisson", "rate": rate},
    }
    if slo:
        stream["slo"] = {"ttft": "4 s", "attain": 0.5}
    settings = {"window": "200 s", "warmup": "20 s", "drain": "50 s", "replications": 3, "seed": 7}
    return ScenarioSpec.model_validate(
        {
            "schema": "factorysim.scenario/1",
            "question": "How long does a call wait?",
            "topology": {
                "schema": "factorysim.topology/1",
                "racks": {"gpu": {"rack": "h100_sxm", "count": servers}},
                "fabric": {"kind": "none"},
            },
            "llms": {"any": {"llm": "llama_3_1_8b"}},
            "deployments": {
                "queue": {
                    "llm": "any",
                    "pool": "gpu",
                    "law": {
                        "kind": "fixed",
                        "prompt": {"kind": "exponential", "mean": "1 s"},
                    },
                }
            },
            "streams": dict.fromkeys(streams, stream),
            "serving": {
                "max_sequences": 1,
                "token_budget": 16,
                "router": {"policy": "shared_queue"},
            },
            "run": settings | run,
        }
    )


def with_value(data, path, value):
    """Copy with another value at a path."""
    data = copy.deepcopy(data)
    place = data
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    return data
