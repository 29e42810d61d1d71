import pytest
from hypothesis import given
from hypothesis import strategies as st

from factorysim.errors import CapacityError, SpecError
from factorysim.physics.table import parse_table, table_law

TEXT = """phase,tokens,context_tokens,step_s
decode,1,100,0.010
decode,1,300,0.012
decode,1,400,0.016
decode,4,100,0.020
decode,4,300,0.024
decode,4,400,0.032
prefill,100,0,0.050
prefill,100,1000,0.060
prefill,200,0,0.090
prefill,200,1000,0.110
"""


@pytest.fixture
def law():
    return table_law(parse_table(TEXT, "profile.csv"))


def seconds(law, decodes, context):
    piece = law.piece(decodes, context)
    return (piece.fixed_fs + piece.slope_fs * context) * 1e-15


@pytest.mark.parametrize(
    ("decodes", "context", "expected"),
    [
        (1, 100, 0.010),
        (1, 200, 0.011),
        (1, 350, 0.014),
        (4, 800, 0.022),
        (2, 400, (2 * 0.011 + 0.022) / 3),  # 200 a sequence, a third of the way to 4
        (1, 50, 0.010),  # flat below the first row
        (1, 500, 0.020),  # on as the last segment
        (5, 1000, 0.022 * 5 / 4),  # in proportion past the last count
    ],
)
def test_steps_between_and_beyond_rows(law, decodes, context, expected):
    assert seconds(law, decodes, context) == pytest.approx(expected, rel=1e-9)


def test_contexts_of_the_profile_are_knots(law):
    assert law.piece(2, 150).knot == 200
    assert law.piece(2, 200).knot == 600
    assert law.piece(2, 600).knot == 800
    assert law.piece(2, 800).knot == 1001


@given(st.integers(1, 5), st.integers(1, 500))
def test_a_piece_holds_until_its_knot(decodes, context):
    law = table_law(parse_table(TEXT, "profile.csv"))
    total = decodes * context
    knot = law.piece(decodes, total).knot
    assert knot is not None
    assert knot > total
    assert law.piece(decodes, knot - 1) == law.piece(decodes, total)


@pytest.mark.parametrize(
    ("tokens", "prior", "expected"),
    [(100, 0, 0.050), (150, 500, 0.0775), (50, 0, 0.050), (250, 0, 0.1125), (100, 1250, 0.0625)],
)
def test_chunks(law, tokens, prior, expected):
    assert law.chunk(tokens, prior) * 1e-15 == pytest.approx(expected, rel=1e-9)


def test_no_step_is_free(law):
    assert law.base(1, 0, 0, 1) == 1
    assert law.chunk_slope(100) is None
    assert not law.draws


def test_far_beyond_the_profile_is_refused(law):
    for ask in (
        lambda: law.piece(6, 600),
        lambda: law.piece(1, 501),
        lambda: law.chunk(251, 0),
        lambda: law.chunk(100, 1251),
    ):
        with pytest.raises(CapacityError, match=r"profile\.csv"):
            ask()


def test_a_phase_without_rows_is_refused():
    decode_only = table_law(parse_table(TEXT.split("prefill")[0], "profile.csv"))
    with pytest.raises(CapacityError, match="rows of phase prefill"):
        decode_only.chunk(10, 0)


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("warmup,1,100,0.1", "profile.csv:12: phase"),
        ("decode,0,100,0.1", "profile.csv:12: tokens"),
        ("decode,1,-5,0.1", "profile.csv:12: context_tokens"),
        ("decode,1,1e3,0.1", "profile.csv:12: context_tokens"),
        ("decode,9,100,0", "profile.csv:12: step_s"),
        ("decode,9,100,nan", "profile.csv:12: step_s"),
        ("decode,9,100,fast", "profile.csv:12: step_s"),
        ("decode,9,100", "profile.csv:12: found 3 cells"),
        ("decode,1,100,0.011", "profile.csv:12: context_tokens"),
        ("decode,4,900,0.001", "profile.csv:12: step_s"),
    ],
)
def test_faults_are_told_with_their_line(line, found):
    with pytest.raises(SpecError) as caught:
        parse_table(TEXT + line + "\n", "profile.csv")
    assert str(caught.value).startswith(found)


def test_all_faults_of_a_file_come_at_once():
    with pytest.raises(SpecError) as caught:
        parse_table(TEXT + "x,0,-1,no\nx,1,1,1\n", "profile.csv")
    assert len(caught.value.faults) == 5


@pytest.mark.parametrize("text", ["", "tokens,step_s\n", "phase,tokens,context_tokens,step_s\n"])
def test_a_file_without_rows_is_refused(text):
    with pytest.raises(SpecError, match="expected"):
        parse_table(text, "profile.csv")


def test_an_endless_cell_is_a_fault():
    with pytest.raises(SpecError, match="comma-separated values"):
        parse_table(TEXT + "decode,1," + "9" * 200_000 + ",1\n", "profile.csv")
