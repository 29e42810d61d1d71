"""A command line is read as a shell would split it; nothing is run, nothing passed over."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.errors import SpecError
from factorysim.load.vllm_command import read_command
from factorysim.load.vllm_flags import FLAGS, SHORT


def refused(text, **more):
    with pytest.raises(SpecError) as found:
        read_command(text, **more)
    return found.value.faults


def test_flags_in_every_spelling_say_the_same():
    wanted = {"tensor-parallel-size": 4, "max-num-seqs": 256}
    for text in (
        "vllm serve m --tensor-parallel-size 4 --max-num-seqs 256",
        "vllm serve m --tensor-parallel-size=4 --max-num-seqs=256",
        "vllm serve --tensor_parallel_size 4 --max_num_seqs=256 m",
        "vllm serve m -tp 4 \\\n  --max-num-seqs 256",
        "CUDA_VISIBLE_DEVICES=0,1 /opt/bin/vllm serve 'm' -tp=4 --max-num-seqs '256'",
        "python3 -m vllm.entrypoints.openai.api_server --model m -tp 4 --max-num-seqs 256",
    ):
        told = read_command(text)
        assert (told.model, told.counts) == ("m", wanted), text


def test_every_kind_of_value():
    told = read_command(
        "vllm serve m --gpu-memory-utilization .85 --kv-cache-dtype fp8 --enable-expert-parallel "
        "--no-enable-prefix-caching --enable-chunked-prefill=False --async-scheduling "
        """--speculative-config '{"method": "ngram", "num_speculative_tokens": 3}' """
        "--served-model-name a b --port 80 --max-model-len auto"
    )
    assert told.memory_share == 0.85
    assert told.words == {"kv-cache-dtype": "fp8"}
    assert told.switches == {
        "enable-expert-parallel": True, "enable-prefix-caching": False,
        "enable-chunked-prefill": False, "async-scheduling": True,
    }  # fmt: skip
    assert told.speculation == {"method": "ngram", "num_speculative_tokens": 3}
    assert told.ignored == ("--served-model-name", "--port")
    assert told.counts == {}


def test_keys_of_json_may_stand_apart():
    text = "vllm serve m --speculative-config.method ngram "
    text += "--speculative-config.num_speculative_tokens 5"
    assert read_command(text).speculation == {"method": "ngram", "num_speculative_tokens": 5}


@pytest.mark.parametrize(
    ("value", "tokens"), [("8192", 8192), ("8k", 8000), ("8K", 8192), ("1.5k", 1500), ("1M", 2**20)]
)
def test_lengths_as_people_write_them(value, tokens):
    told = read_command(f"vllm serve m --max-model-len {value}")
    assert told.counts["max-model-len"] == tokens


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "nothing"),
        ("docker run vllm serve m", "docker"),
        ("vllm bench serve m", "bench"),
        ("vllm serve", "none"),
        ("vllm serve a b", "'a', 'b'"),
        ("vllm serve m; rm -rf /", "shell's `;`"),
        ("vllm serve m && curl x", "shell's `&&`"),
        ("vllm serve m > log", "shell's `>`"),
        ("vllm serve $(cat m)", "shell's `(`"),
        ("vllm serve 'm", "broken command line"),
        ("vllm serve m --config x.yaml", "a file"),
        ("vllm serve m -tp", "nothing"),
        ("vllm serve m -tp four", "'four'"),
        ("vllm serve m -tp 0", "'0'"),
        ("vllm serve m -tp -2", "'-2'"),
        ("vllm serve m -tp 1.5", "'1.5'"),
        ("vllm serve m -tp " + "9" * 50, "999"),
        ("vllm serve m --gpu-memory-utilization 90", "'90'"),
        ("vllm serve m --gpu-memory-utilization 0.0", "'0.0'"),
        ("vllm serve m --gpu-memory-utilization nan", "'nan'"),
        ("vllm serve m --enable-prefix-caching=maybe", "'maybe'"),
        ("vllm serve m --no-max-num-seqs 3", "switched off"),
        ("vllm serve m --speculative-config ngram", "broken JSON"),
        ("vllm serve m --speculative-config '[1]'", "a list"),
        ("vllm serve m " + "x" * 200_000, "characters"),
    ],
)
def test_what_is_wrong_is_told(text, word):
    assert word in " ".join(fault.found for fault in refused(text))


def test_an_unknown_flag_is_refused_with_the_nearest_or_listed():
    text = "vllm serve m --tensor-paralel-size 4 --frobnicate x --port 1"
    faults = refused(text)
    assert [fault.key for fault in faults] == ["--tensor-paralel-size", "--frobnicate"]
    assert 'did you mean "tensor-parallel-size"?' in faults[0].cure
    told = read_command(text, skip_unknown=True)
    assert told.unknown == ("--tensor-paralel-size", "--frobnicate")
    assert (told.model, told.ignored) == ("m", ("--port",))


def test_what_is_not_modelled_is_told_with_its_effect():
    told = read_command("vllm serve m --enforce-eager --lora-modules a=b c=d --cpu-offload-gb 4")
    assert [one.split(":")[0] for one in told.unmodelled] == [
        "--enforce-eager", "--lora-modules", "--cpu-offload-gb",
    ]  # fmt: skip
    assert told.model == "m"


def test_every_flag_is_known_once_and_says_what_it_changes():
    assert set(SHORT.values()) <= set(FLAGS)
    for name, flag in FLAGS.items():
        assert name == name.lower().replace("_", "-")
        assert bool(flag.why) == (flag.use == "unmodelled")


@given(st.text(max_size=60))
def test_whatever_follows_is_read_or_refused(text):
    for line in (text, f"vllm serve m {text}"):
        faults = ()
        try:
            read_command(line)
        except SpecError as error:
            faults = error.faults
        assert all(fault.found and fault.expected for fault in faults)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "tensor-parallel-size": st.integers(1, 64),
            "pipeline-parallel-size": st.integers(1, 64),
            "data-parallel-size": st.integers(1, 64),
            "max-num-seqs": st.integers(1, 10**6),
            "max-num-batched-tokens": st.integers(1, 10**6),
            "block-size": st.integers(1, 256),
        },
    ),
    st.booleans(),
    st.booleans(),
)
def test_what_is_written_is_read(counts, equals, underscores):
    words = ["vllm", "serve", "owner/model"]
    for flag, value in counts.items():
        name = "--" + (flag.replace("-", "_") if underscores else flag)
        words += [f"{name}={value}"] if equals else [name, str(value)]
    assert read_command(" ".join(words)).counts == counts
