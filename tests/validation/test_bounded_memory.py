"""Traces are read in memory that does not grow with them, whatever is in the file."""

import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="no /proc here"),
]
ROOT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys
from pathlib import Path
from factorysim.errors import TraceError
from factorysim.workload.repair import Repairs
from factorysim.workload.traces import read_trace
repair = Repairs() if sys.argv[3:] else None
try:
    count = sum(1 for _ in read_trace(Path(sys.argv[1]), sys.argv[2], repair=repair))
except TraceError:
    count = -1
# Not `ru_maxrss`, which begins with the memory of the process that started this one.
[peak] = [line for line in open("/proc/self/status") if line.startswith("VmHWM")]
print(count, float(peak.split()[1]) / 1024)
"""


def read(path: Path, trace_format: str, *repair: str) -> tuple[int, float]:
    """Sessions read, -1 if refused; and the most memory that was taken, in MB."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path), trace_format, *repair],
        cwd=ROOT, capture_output=True, text=True, check=True, timeout=300,
    )  # fmt: skip
    count, megabytes = done.stdout.split()
    return int(count), float(megabytes)


def mooncake(n: int) -> str:
    ids = list(range(7 * n, 7 * n + 24))
    row = {"timestamp": n, "input_length": 24 * 512, "output_length": 8, "hash_ids": ids}
    return json.dumps(row)


def fstrace(n: int) -> str:
    head = {"k": "session", "sid": f"s{n}", "t": n, "agent": "a"}
    call = {"k": "llm", "sid": f"s{n}", "in": 900, "out": 5, "hashes": [[n, 9]], "bs": 64}
    return json.dumps(head) + "\n" + json.dumps(call)


def azure(n: int) -> str:
    return (
        f"2023-11-16 {n // 360_000 % 24:02}:{n // 6000 % 60:02}:{n // 100 % 60:02}.{n % 100:02},9,1"
    )


FIRST = {
    "mooncake": "",
    "fstrace": '{"k": "meta", "schema": "fstrace/1"}\n',
    "azure": "TIMESTAMP,ContextTokens,GeneratedTokens\n",
}


@pytest.mark.parametrize("row", [mooncake, fstrace, azure], ids=lambda row: row.__name__)
def test_memory_does_not_grow_with_the_trace(tmp_path, row):
    """24 MB more of rows may take a tenth of that, and the ids that find sessions torn apart."""
    path, taken = tmp_path / "t", []
    size = len(row(0)) + 1
    for wanted in (2_000_000, 26_000_000):
        rows = wanted // size
        text = FIRST[row.__name__] + "\n".join(map(row, range(rows)))
        path.write_bytes(gzip.compress(text.encode(), 1))
        count, megabytes = read(path, row.__name__)
        assert count == rows
        taken.append(megabytes - 160e-6 * rows * (row is fstrace))
    assert taken[1] - taken[0] < 2.4, taken
    assert taken[1] < 150


@pytest.mark.parametrize("repair", [(), ("repair",)], ids=["refused", "repaired"])
def test_hostile_files_cost_no_more(tmp_path, repair):
    """A bomb, a line of 200 MB, and a million lines of rubbish."""
    bomb, line, junk = (tmp_path / name for name in ("bomb.gz", "line", "junk.gz"))
    bomb.write_bytes(gzip.compress(b" " * 2 * 10**8))
    with line.open("wb") as file:
        for _ in range(200):
            file.write(b"x" * 10**6)
    junk.write_bytes(gzip.compress(b"x\n" * 1_000_000, 1))
    for path in (bomb, line, junk):
        count, megabytes = read(path, "mooncake", *repair)
        assert count == -1
        assert megabytes < 150, path
