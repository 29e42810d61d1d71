"""What is stored is what the simulation handed on, table by table."""

from factorysim.records import TABLES, Closing, GapRow
from factorysim.run.replication import stored_rows
from factorysim.store import ParquetSink


def test_rows_that_were_not_stored_are_missed(tmp_path):
    with ParquetSink(tmp_path, 0) as sink:
        sink.rows("gaps", [GapRow(3, 1.0, 0.25, "preemption")])
    for handed, broken in ((1, []), (2, ["rows of gaps stored"])):
        closing = Closing(1.0, 1, (), (), (), 1, (("gaps", handed),))
        lines = stored_rows(tmp_path, closing)
        assert len(lines) == len(TABLES)
        assert [line.name for line in lines if not line.ok] == broken
