"""Tables hold what their readers trust them to hold, or are refused, sealed again or not."""

import shutil

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from factorysim.load import load
from factorysim.run import open_run, simulate
from factorysim.run.row_check import Check, Known
from factorysim.run.tables import TABLE_NAMES, schema_of
from factorysim.store import table_parts
from tests.unit.run.tampering import changed, full_run, told, with_cell


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return full_run(tmp_path_factory.mktemp("runs") / "full")


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def test_rows_in_every_table_are_without_fault(whole):
    open_run(whole)
    for table in TABLE_NAMES:
        assert pq.read_metadata(whole / f"{table}.parquet").num_rows > 0, table


def test_columns_are_those_that_a_run_writes(written):
    for table in TABLE_NAMES:
        found = next(table_parts(written / f"{table}.parquet")).schema
        wanted = schema_of(table)
        assert set(found.names) <= set(wanted.names)
        assert all(found.field(name).equals(wanted.field(name)) for name in found.names)


@pytest.mark.parametrize("table", TABLE_NAMES)
def test_a_column_that_is_gone_is_told(folder, table):
    name = schema_of(table).names[1]
    changed(folder, table, lambda found: found.drop_columns([name]))
    assert f"{table}.parquet: {name}: found no such column" in told(folder)


def test_every_fault_is_told_with_row_and_cure(folder):
    changed(folder, "steps", lambda found: with_cell(found, "replica", 1, 99))
    changed(folder, "gaps", lambda found: with_cell(found, "at_s", 0, float("nan")))
    text = told(folder)
    assert (
        "steps.parquet: replica: found 99 in row 2, expected a replica of the manifest (0 to 0)\n"
        "    The scenario beside it" in text
    )
    assert "gaps.parquet: at_s: found nan in row 1, expected seconds from 0 to 9e+09" in text


def test_rows_with_one_fault_are_counted(folder):
    def change(found):
        for number in (1, 3):
            found = with_cell(found, "replica", number, -1)
        return found

    changed(folder, "steps", change)
    assert "replica: found -1 in row 2 and 1 more" in told(folder)


@pytest.mark.parametrize(
    ("table", "column", "value", "said"),
    [
        ("calls", "replica", -2, "a replica of the manifest (-1 to 0)"),
        ("handoffs", "decode_replica", 1, "a replica of the manifest"),
        ("calls", "replication", 2, "one of the manifest's"),
        ("metrics", "replication", -1, "one of the manifest's"),
        ("tools", "host", 10**15, "a number from -1"),
        ("transfers", "src", -1, "a number from 0"),
        ("sessions", "calls", -1, "a whole number from 0"),
        ("sessions", "arrived_s", -1e-9, "seconds from 0"),
        ("calls", "finished_s", float("inf"), "seconds from 0"),
        ("timeseries", "value", float("nan"), "a finite number"),
        ("power", "rest_j", 1e308, "a finite number"),
        ("metrics", "value", 1e308, "a finite number"),
        ("links", "bandwidth_bytes_per_s", 0.0, "above 0"),
        ("steps", "finished_s", 21.0, "seconds from started_s on"),
        ("calls", "first_token_s", 20.0, "seconds from arrived_s on"),
        ("handoffs", "joined_s", 0.0, "seconds from landed_s on"),
        ("sessions", "finished_s", 20.0, "seconds from arrived_s on"),
        ("sessions", "finished_s", None, "all of what is completed"),
        ("calls", "first_token_s", None, "all of what is completed"),
        ("calls", "output_tokens", 1, "all of what is completed"),
        ("sessions", "stream", None, "a value"),
        ("metrics", "key", None, "a value"),
        ("gaps", "gap_s", None, "a value"),
        ("gaps", "at_s", 24.5, "gaps of a call one after the other"),
    ],
)
def test_what_a_run_never_writes_is_told(folder, table, column, value, said):
    changed(folder, table, lambda found: with_cell(found, column, 0, value))
    text = told(folder)
    assert f"{table}.parquet: " in text
    assert said in text


def test_gaps_that_follow_each_other_do_so_after_years_too():
    gap_fs = 123_456_789_012_345
    ends = [(10**23 + number * gap_fs) / 1e15 for number in range(1, 200)]
    gaps = pa.table(
        {
            name: pa.array(values, schema_of("gaps").field(name).type)
            for name, values in {
                "replication": [0] * len(ends),
                "call": [0] * len(ends),
                "at_s": ends,
                "gap_s": [gap_fs / 1e15] * len(ends),
            }.items()
        }
    )
    check = Check("gaps", Known(frozenset([0]), 1))
    list(check.passing([gaps]))
    assert not list(check.told())
    late = gaps.set_column(3, "gap_s", pa.array([0.1235] * len(ends)))
    check = Check("gaps", Known(frozenset([0]), 1))
    list(check.passing([late]))
    assert [key for key, _, _ in check.told()] == ["gap_s"]


@pytest.mark.parametrize(
    ("table", "column", "kind"),
    [
        ("steps", "replica", pa.float64()),
        ("steps", "flops", pa.int64()),
        ("sessions", "stream", pa.string()),
        ("sessions", "sid", pa.dictionary(pa.int32(), pa.string())),
        ("events", "kind", pa.dictionary(pa.int8(), pa.string())),
        ("events", "at_s", pa.string()),
        ("gaps", "call", pa.timestamp("ns")),
        ("gaps", "gap_s", pa.decimal128(30, 6)),
        ("power", "place", pa.binary()),
    ],
)
def test_a_column_of_another_type_is_told(folder, table, column, kind):
    place = folder / f"{table}.parquet"
    found = pq.read_table(place)
    at = found.schema.names.index(column)
    values = found[column].to_pylist()
    plain = pa.array(values, kind.value_type) if pa.types.is_dictionary(kind) else None
    array = pa.array(values).cast(kind) if plain is None else plain.dictionary_encode().cast(kind)
    pq.write_table(found.set_column(at, column, array), place)
    assert f"{table}.parquet: {column}: found {kind}" in told(folder)


def test_columns_that_are_double_or_foreign_are_told(folder):
    place = folder / "gaps.parquet"
    found = pq.read_table(place)
    found = found.append_column("call", found["call"]).append_column("x\x1b[31m", found["call"])
    pq.write_table(found, place)
    assert "call: found 2 columns, expected one" in told(folder)
    assert "found a column that is no table's, expected a column of gaps" in told(folder)


@pytest.mark.parametrize("column", ["kind", "detail"])
def test_words_that_are_no_text_are_told(folder, column):
    def change(found):
        ends, words = pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")
        text = pa.StringArray.from_buffers(1, ends, words)
        if column == "kind":
            codes = pa.array([0] * len(found), pa.int32())
            text = pa.DictionaryArray.from_arrays(codes, text)
        else:
            text = pa.concat_arrays([text] * len(found))
        return found.set_column(found.schema.names.index(column), column, text)

    changed(folder, "events", change)
    text = told(folder)
    assert f"{column}: found other bytes than UTF-8 in row 1 and 1 more" in text


def test_statistics_that_are_not_of_the_rows_are_told(folder):
    """Readers pass over row groups by them, and the hash of the content does not cover them."""
    place = folder / "events.parquet"
    data = place.read_bytes()
    at = data.rindex(b"\x01\x00\x00\x00")  # the greatest replication of the last row group
    statistics = pq.read_metadata(place).row_group(1).column(0).statistics
    assert (statistics.min, statistics.max) == (1, 1)
    place.write_bytes(data[:at] + b"\x00" + data[at + 1 :])
    changed_to = pq.read_metadata(place).row_group(1).column(0).statistics
    assert (changed_to.min, changed_to.max) != (1, 1), "else the test could not fail"
    assert "told of row group 2, expected 1 to 1, as in its rows" in told(folder)


def test_what_tables_refer_to_is_taken_from_the_manifest():
    serve, tools = {"kind": "serve", "replicas": 3}, {"kind": "tools", "replicas": 9}
    layout = {"stations": [serve, serve, tools]}
    found = Known.of({"layout": layout, "replications": [{"replication": 4}]})
    assert found == Known(frozenset({4}), 6)


@pytest.mark.parametrize("scheduler", ["vllm", "sglang", "sarathi", "orca", "static", "trtllm"])
def test_a_run_of_any_scheduler_is_opened(tmp_path, scheduler):
    """Those without a budget of tokens have one of 2**62."""
    short = ["run.window=3 s", "run.warmup=0 s", "run.drain=3 s", "run.replications=1"]
    scenario = load("schedulers", [f"serving.scheduler={scheduler}", *short])
    assert open_run(simulate(scenario, out=tmp_path / "run", workers=1).path).path.is_dir()
