"""Packed traces: known by their bytes, the same at any time, bounded, and told when cut."""

import gzip

import pyarrow as pa
import pytest

from factorysim.errors import TraceError
from factorysim.workload import lines
from factorysim.workload.lines import FaultLog, LineReader
from factorysim.workload.write import write_lines

TEXT = [f"a line of some length {n}" for n in range(20_000)]


def zstd(data: bytes) -> bytes:
    return pa.compress(data, "zstd", asbytes=True)


def read(path) -> list[str]:
    log = FaultLog(path)
    with LineReader(path, log) as reader:
        told = [text for _, text in reader]
    log.close()
    return told


@pytest.mark.parametrize("ending", ["", ".gz", ".zst"])
def test_what_is_written_is_read_and_is_the_same_bytes_under_any_name(tmp_path, ending):
    for name in ("a", "b"):
        assert write_lines(tmp_path / f"{name}{ending}", TEXT) == len(TEXT)
    first, second = ((tmp_path / f"{name}{ending}").read_bytes() for name in ("a", "b"))
    assert first == second
    assert (len(first) < 200_000) == bool(ending)
    (tmp_path / "renamed").write_bytes(first)
    assert read(tmp_path / "renamed") == TEXT


def test_members_and_frames_follow_each_other(tmp_path):
    path = tmp_path / "t"
    path.write_bytes(gzip.compress(b"a\nb") + gzip.compress(b"c\nd\n") + b"\0" * 512)
    assert read(path) == ["a", "bc", "d"]
    path.write_bytes(zstd(b"a\nb") + zstd(b"c\nd\n"))
    assert read(path) == ["a", "bc", "d"]


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_a_cut_or_damaged_file_is_told_with_the_line_it_ends_in(tmp_path, pack):
    data = pack("\n".join(TEXT).encode())
    path = tmp_path / "t"
    for bad, found in [(data[:-50], "the end of the file inside"), (data[:30] + data[90:], "")]:
        path.write_bytes(bad)
        with pytest.raises(TraceError) as caught:
            read(path)
        assert found in caught.value.faults[-1].found
        assert caught.value.faults[-1].where.startswith(f"{path}:")


@pytest.mark.parametrize("pack", [gzip.compress, zstd])
def test_what_expands_too_much_is_refused(tmp_path, monkeypatch, pack):
    monkeypatch.setattr(lines, "FREE_BYTES", 100_000)
    path = tmp_path / "t"
    path.write_bytes(pack(b"\n".join([b" " * 999] * 20_000)))
    with pytest.raises(TraceError, match="expands more than 200 times"):
        read(path)


def test_a_row_may_be_as_long_as_rows_may_be_and_no_longer(tmp_path, monkeypatch):
    monkeypatch.setattr(lines, "BLOCK_BYTES", 100)
    path = tmp_path / "t"
    for size in (10, 99, 100, 101, 350, 999):
        path.write_text(f"a\n{'x' * size}\nb\n{'y' * size}")
        assert read(path) == ["a", "x" * size, "b", "y" * size]
    monkeypatch.setattr(lines, "ROW_BYTES", 300)
    path.write_text(f"a\n{'x' * 298}\nb\n{'y' * 1000}\nc")
    with pytest.raises(TraceError) as caught:
        read(path)
    assert [fault.where for fault in caught.value.faults] == [f"{path}:4"]
