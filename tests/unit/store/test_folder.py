"""A run directory is whole under its final name, or not there."""

import json
from pathlib import Path

import pytest

from factorysim.errors import OutputError
from factorysim.store import check_place, made_folder, publish, staging, write_bytes, write_json


def run_folder(path, text="old"):
    path.mkdir()
    write_json(path / "manifest.json", {"schema": "factorysim.run/1", "text": text})
    return path


def test_publish_renames_and_nothing_is_left_beside(tmp_path):
    final = tmp_path / "runs" / "a"
    with staging(final) as staged:
        (staged / "x").write_text("1")
        assert staged.parent == final.parent
        publish(staged, final)
    assert [p.name for p in final.parent.iterdir()] == ["a"]
    assert (final / "x").read_text() == "1"


def half_done(folder):
    with made_folder(folder):
        (folder / "half").touch()
        raise KeyboardInterrupt


def test_a_folder_for_files_that_do_not_come_about_is_gone_again(tmp_path):
    (tmp_path / "mine").mkdir()
    for name in ("mine/new/deep", "mine", "new"):
        with pytest.raises(KeyboardInterrupt), made_folder(tmp_path / name):
            raise KeyboardInterrupt
        assert [path.name for path in tmp_path.rglob("*")] == ["mine"]
    with pytest.raises(KeyboardInterrupt):
        half_done(tmp_path / "mine/kept")
    assert (tmp_path / "mine/kept/half").exists()
    with made_folder(tmp_path / "whole"):
        pass
    assert (tmp_path / "whole").is_dir()


def test_a_failure_leaves_nothing(tmp_path):
    final = tmp_path / "a"
    with pytest.raises(FileNotFoundError), staging(final) as staged:
        (staged / "x").rename(staged / "y")
    assert list(tmp_path.iterdir()) == []


def test_a_new_run_replaces_an_old_one_and_a_failed_one_does_not(tmp_path):
    final = run_folder(tmp_path / "a")
    with pytest.raises(RuntimeError), staging(final):
        raise RuntimeError
    assert json.loads((final / "manifest.json").read_text())["text"] == "old"
    with staging(final) as staged:
        write_json(staged / "manifest.json", {"schema": "factorysim.run/1", "text": "new"})
        publish(staged, final)
    assert json.loads((final / "manifest.json").read_text())["text"] == "new"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_an_old_run_comes_back_where_the_new_one_cannot_be_renamed(tmp_path, monkeypatch):
    final = run_folder(tmp_path / "a")
    rename = Path.rename

    def stuck(self, target):
        if ".partial-" in self.name:
            raise OSError("no space left")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", stuck)
    with pytest.raises(OutputError), staging(final) as staged:
        publish(staged, final)
    assert [p.name for p in tmp_path.iterdir()] == ["a"]
    assert json.loads((final / "manifest.json").read_text())["text"] == "old"


def test_other_peoples_files_are_not_replaced(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(OutputError, match="other things"):
        check_place(tmp_path)
    with pytest.raises(OutputError, match="a file"):
        check_place(tmp_path / "thesis.tex")
    with pytest.raises(OutputError, match=r"thesis\.tex"), staging(tmp_path / "thesis.tex" / "run"):
        pass


def test_an_unwritable_place_is_refused_early(tmp_path, monkeypatch):
    def refuse(*args, **options):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.mkdtemp", refuse)
    with pytest.raises(OutputError, match="permission denied"), staging(tmp_path / "a"):
        pass


def test_json_has_no_nan(tmp_path):
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(tmp_path / "x.json", {"x": float("nan")})


def test_bytes_that_stop_coming_leave_what_was_there(tmp_path):
    def parts():
        yield b"new"
        raise RuntimeError("the source dried up")

    (tmp_path / "some").write_bytes(b"old")
    with pytest.raises(RuntimeError, match="dried up"):
        write_bytes(tmp_path / "some", parts())
    assert (tmp_path / "some").read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["some"]
