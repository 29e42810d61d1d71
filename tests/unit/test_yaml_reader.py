import os
from itertools import pairwise

import pytest

from factorysim.errors import SpecError
from factorysim.yaml_reader import MAX_BYTES, parse_yaml, read_yaml


def faults(text):
    with pytest.raises(SpecError) as caught:
        parse_yaml(text, "f.yaml")
    return caught.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"), ("yes", "yes"), ("012", 12), ("0o12", 10), ("0x1F", 31), ("1e3", 1000.0),
        ("1_000", "1_000"), ("~", None), ("", None), ("true", True), ("'1'", "1"), ("1:30", "1:30"),
        ("2026-01-01", "2026-01-01"), (".5", 0.5),
    ],
)  # fmt: skip
def test_plain_scalars_follow_the_core_schema_of_yaml_1_2(text, value):
    read = parse_yaml(f"a: {text}", "f").plain()
    assert read == {"a": value}
    assert type(read["a"]) is type(value)


@pytest.mark.parametrize(
    ("text", "line", "key", "found"),
    [
        ("a: 1\na: 2", 2, "a", "again"),
        ("a: .nan", 1, "a", ".nan"),
        ("a: [1, -.inf]", 1, "a.1", ".inf"),
        ("a: 1e999", 1, "a", "1e999"),
        ("a: !!python/object:os.system x", 1, "a", "tag"),
        ("a: {<<: {b: 1}}", 1, "a", "merge key"),
        ("a: *b", 1, "a", "alias"),
        ("a: &a [*a]", 1, "a.0", "inside itself"),
        ("a: 1\n---\nb: 2", 2, "", "second document"),
        ("%YAML 1.1\n---\na: 1", 2, "", "1.1"),
        ("a: b: c", 1, "", "broken YAML"),
        ("a:\n\tb: 1", 2, "", "broken YAML"),
        ("a: [1", 1, "", "broken YAML"),
        ("[a]: 1", 1, "", "as a key"),
        (b"a: 1\nb: \xff", 2, "", "not UTF-8"),
        ("a: \x07", 1, "", "control character"),
        ('a: "\\ud800"', 1, "a", "surrogate"),
        ("[" * 5000, 1, "0.0.0", "levels"),
    ],
)
def test_what_yaml_may_not_hold_is_refused_at_its_line(text, line, key, found):
    (fault,) = faults(text)
    assert (fault.where, fault.key) == (f"f.yaml:{line}", key)
    assert found in fault.found


def test_all_faults_of_a_readable_file_come_at_once():
    assert len(faults("a: 1\na: 2\nb: .nan\nc: !x 1\n")) == 3


def test_aliases_are_shared_but_their_expansion_is_bounded():
    assert parse_yaml("a: &x {b: 1}\nc: *x", "f").plain() == {"a": {"b": 1}, "c": {"b": 1}}
    names = "abcdefgh"
    bomb = "a: &a [x, x, x, x, x, x, x, x, x, x]\n"
    for before, name in pairwise(names):
        bomb += f"{name}: &{name} [{', '.join([f'*{before}'] * 10)}]\n"
    (fault,) = faults(bomb)
    assert "aliases written out" in fault.found


def test_an_alias_cannot_go_deeper_than_a_file_may():
    text = "a0: &a0 {x: 1}\n" + "".join(f"a{i}: &a{i} {{x: *a{i - 1}}}\n" for i in range(1, 40))
    (fault,) = faults(text)
    assert "levels" in fault.found


def test_marks_know_their_lines():
    marked = parse_yaml("a:\n  b:\n    - 1\n    - c: 2\n", "f.yaml")
    assert str(marked.nearest(("a", "b", 1, "c"))) == "f.yaml:4"
    assert str(marked.nearest(("a", "no", "such"))) == "f.yaml:1"


@pytest.mark.parametrize("what", ["missing", "folder", "pipe", "large", "locked"])
def test_files_that_cannot_be_read_are_told(tmp_path, what):
    path = tmp_path / "f.yaml"
    if what == "folder":
        path.mkdir()
    elif what == "pipe":
        os.mkfifo(path)
    elif what == "large":
        path.write_bytes(b"#" * (MAX_BYTES + 1))
    elif what == "locked":
        path.write_text("a: 1")
        path.chmod(0)
        if os.access(path, os.R_OK):
            pytest.skip("root reads everything")
    with pytest.raises(SpecError) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)


def test_a_file_that_changes_is_read_anew(tmp_path):
    file = tmp_path / "a.yaml"
    for number in range(3):
        file.write_text(f"n: {number}\n")
        assert read_yaml(file, "a.yaml").plain() == {"n": number}


def test_the_same_text_under_another_name_tells_that_name(tmp_path):
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text("n: 1\n")
        assert str(read_yaml(tmp_path / name, name).nearest(("n",))) == f"{name}:1"
