"""A run directory is opened only as it was written: whole, of this version, unchanged."""

import json
import os
import shutil

import pyarrow.parquet as pq
import pytest

from factorysim.run import open_run
from factorysim.run.seal import sealed
from tests.unit.run.tampering import told


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "run")


def test_a_run_as_it_was_written_opens(folder):
    assert open_run(folder).summary["calls.arrived"].value > 0


def test_what_is_missing_is_told_all_at_once(folder):
    (folder / "steps.parquet").unlink()
    (folder / "summary.json").unlink()
    assert "no steps.parquet" in told(folder)
    assert "no summary.json" in told(folder)


def test_a_value_changed_in_a_table_is_told(folder):
    table = pq.read_table(folder / "calls.parquet")
    column = table.column("output_tokens").to_numpy().copy()
    column[0] += 1
    place = table.schema.names.index("output_tokens")
    changed = table.set_column(place, table.schema.field("output_tokens"), [column])
    pq.write_table(changed, folder / "calls.parquet")
    assert "calls.parquet: found other content" in told(folder)


def test_a_row_that_is_gone_is_told(folder):
    table = pq.read_table(folder / "sessions.parquet")
    pq.write_table(table.slice(0, len(table) - 1), folder / "sessions.parquet")
    assert "sessions.parquet: found other content" in told(folder)


@pytest.mark.parametrize("name", ["summary.json", "scenario.resolved.yaml"])
def test_a_word_changed_in_a_file_is_told(folder, name):
    text = (folder / name).read_text()
    (folder / name).write_text(text.replace("1", "2", 1))
    assert f"{name}: found other content" in told(folder)


def test_a_word_changed_in_the_manifest_is_told(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["seed"] += 1
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert "manifest_sha256" in told(folder)


def test_another_version_is_told(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["schema"] = "factorysim.run/2"
    (folder / "manifest.json").write_text(json.dumps(sealed(manifest)))
    assert "'factorysim.run/2', expected factorysim.run/1" in told(folder)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "no JSON"),
        (b"{", "no JSON"),
        (b"\xff", "no UTF-8"),
        (b"[" * 100_000, "nested too deep"),
        (b"[]", "schema: found none"),
        (b"null", "schema: found none"),
        (b'{"schema": 3}', "schema: found 3"),
    ],
)
def test_a_manifest_of_rubbish_is_told(folder, text, said):
    (folder / "manifest.json").write_bytes(text)
    assert said in told(folder)


@pytest.mark.parametrize("name", ["calls.parquet", "steps.parquet"])
def test_a_table_of_rubbish_is_told(folder, name):
    whole = (folder / name).read_bytes()
    for data in (b"", b"rubbish", whole[: len(whole) // 2]):
        (folder / name).write_bytes(data)
        assert f"{name}: found nothing that can be read" in told(folder)


def test_what_is_no_run_directory_is_told(tmp_path):
    assert "no such directory" in told(tmp_path / "nowhere")
    assert "no manifest.json" in told(tmp_path)
    (tmp_path / "file").write_text("x")
    assert "found a file" in told(tmp_path / "file")


def test_runs_inside_are_named(folder):
    assert "There are runs inside" in told(folder.parent)
    assert str(folder) in told(folder.parent)


@pytest.mark.parametrize("value", ["NaN", "Infinity", '"\\ud800"'])
def test_what_no_manifest_of_ours_holds_breaks_the_seal(folder, value):
    place = folder / "manifest.json"
    text = place.read_text(encoding="utf-8")
    place.write_text(text.replace('"seed": 7', f'"seed": {value}', 1), encoding="utf-8")
    assert place.read_text(encoding="utf-8") != text
    assert "other content than manifest_sha256 seals" in told(folder)


def test_a_sealed_manifest_without_what_is_read_from_it_is_told(folder):
    place = folder / "manifest.json"
    manifest = json.loads(place.read_text(encoding="utf-8"))
    del manifest["slo"], manifest["summary_sha256"]
    place.write_text(json.dumps(sealed(manifest)), encoding="utf-8")
    assert "slo: found nothing" in told(folder)
    assert "summary_sha256: found nothing" in told(folder)


def test_a_pipe_is_not_waited_for(folder):
    (folder / "manifest.json").unlink()
    os.mkfifo(folder / "manifest.json")
    assert "no regular file" in told(folder)


def test_a_device_without_end_is_not_read(folder):
    (folder / "manifest.json").unlink()
    (folder / "manifest.json").symlink_to("/dev/zero")
    assert "no regular file" in told(folder)
