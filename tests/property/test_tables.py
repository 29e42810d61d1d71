"""Whatever is changed in a table and sealed again: it is refused, or it is all drawn."""

import shutil

import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from factorysim.errors import UserError
from factorysim.report.figures.every import NAMES, Figures
from factorysim.report.run_page import comparison_page, run_page
from factorysim.report.timeline import look, write_timeline
from factorysim.run import open_run
from factorysim.run.tables import TABLE_NAMES, schema_of
from factorysim.study.pairing import pair_runs
from tests.unit.run.tampering import changed, full_run, with_cell

NUMBERS = (
    0, 1, -1, 2, 7, 99, 2**31, 2**53, 2**62, -(2**63), 1e-300, 5e-324, 0.5, 23.5, 1e9, 1e11, 1e99,
    1e308, float("nan"), float("inf"), -float("inf"), -0.0, -1e-9, None,
)  # fmt: skip
WORDS = ("", "queue", "calls", "all", "</script>", "\x1b[31m", "$x_1^2$", "\u202e", "a" * 999, None)
TYPES = (pa.int32(), pa.int64(), pa.float32(), pa.float64(), pa.string(), pa.bool_(), pa.null())
WHOLE = ("drop", "empty", "twice", "backwards", "other type", "null")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return full_run(tmp_path_factory.mktemp("runs") / "full")


@pytest.fixture(scope="module")
def other(whole):
    return shutil.copytree(whole, whole.parent / "other")


def other_value(draw, kind):
    if pa.types.is_integer(kind):
        whole = [n for n in NUMBERS if n is None or (isinstance(n, int) and _fits(n, kind))]
        return draw(st.sampled_from(whole) | st.integers(-5, 5))
    if pa.types.is_floating(kind):
        return draw(st.sampled_from(NUMBERS) | st.floats(-10.0, 60.0))
    return draw(st.sampled_from(WORDS))


def _fits(number, kind):
    return -(2 ** (kind.bit_width - 1)) <= number < 2 ** (kind.bit_width - 1)


@st.composite
def changes(draw):
    """Draw a table, and what is done to it: to a few cells of a column, or to much at once."""
    table = draw(st.sampled_from(TABLE_NAMES))
    column = draw(st.sampled_from(schema_of(table).names))
    how = draw(st.sampled_from(("cells",) * 6 + WHOLE))
    kind = schema_of(table).field(column).type
    count = draw(st.integers(1, 3)) if how == "cells" else 0
    cells = [(draw(st.integers(0, 99)), other_value(draw, kind)) for _ in range(count)]
    return table, column, how, cells, draw(st.sampled_from(TYPES))


def apply(found, column, how, cells, kind):
    if column not in found.schema.names:
        return found
    at = found.schema.names.index(column)
    if how == "cells":
        for number, value in cells:
            found = with_cell(found, column, number % len(found), value)
        return found
    if how == "drop":
        return found.drop_columns([column])
    if how == "empty":
        return found.slice(0, 0)
    if how == "twice":
        return pa.concat_tables([found, found])
    if how == "backwards":
        return found.take(list(range(len(found)))[::-1])
    array = pa.nulls(len(found), found.schema.field(column).type if how == "null" else kind)
    return found.set_column(at, column, array)


def draw_everything(folder, other, number):
    """Draw all that is drawn of a run, but for one figure of many: they take long."""
    run = open_run(folder)
    run_page(run)
    comparison_page(pair_runs([open_run(other), run]))
    Figures(run, "column").draw(NAMES[number % len(NAMES)])
    for one in run.manifest["replications"]:
        write_timeline(look(run, one["replication"]), folder / "timeline.pftrace")


@pytest.mark.slow
@settings(
    max_examples=25,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(changes(), st.integers(0, 99))
def test_a_changed_table_is_refused_or_all_is_drawn(whole, other, tmp_path, change, number):
    table, *how = change
    folder = tmp_path / "run"
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(whole, folder)
    try:
        changed(folder, table, lambda found: apply(found, *how))
    except (pa.ArrowException, OverflowError, TypeError):
        return  # what no table holds
    try:
        open_run(folder)
    except UserError:
        return
    draw_everything(folder, other, number)


@pytest.mark.slow
def test_a_whole_run_is_all_drawn(whole, other):
    draw_everything(whole, other, 0)
