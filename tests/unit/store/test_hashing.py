"""Content hashes see values alone."""

import pyarrow as pa

from factorysim.store import content_hash, file_hash


def test_chunks_and_dictionaries_do_not_matter():
    plain = pa.table({"x": [1.5, None, 3.0, 4.0], "s": ["a", "b", None, "a"]})
    other = pa.concat_tables([plain.slice(0, 1), plain.slice(1, 2), plain.slice(3)])
    encoded = plain.set_column(1, "s", plain["s"].dictionary_encode())
    assert content_hash(plain) == content_hash(other) == content_hash(encoded)


def test_any_change_of_a_value_matters():
    def digest(x, s):
        return content_hash(pa.table({"x": pa.array(x, pa.float64()), "s": pa.array(s)}))

    base = digest([1.0, 2.0], ["ab", "c"])
    others = [
        digest([1.0, 2.0000000000000004], ["ab", "c"]),
        digest([2.0, 1.0], ["ab", "c"]),
        digest([1.0, None], ["ab", "c"]),
        digest([None, 1.0], ["ab", "c"]),
        digest([1.0, 2.0], ["a", "bc"]),
        digest([1.0, 2.0], ["abc", ""]),
        digest([1.0], ["ab"]),
    ]
    assert len({base, *others}) == len(others) + 1


def test_null_is_not_zero_and_minus_zero_is():
    def digest(x):
        return content_hash(pa.table({"x": pa.array(x, pa.float64())}))

    assert digest([None]) != digest([0.0])
    assert digest([-0.0]) == digest([0.0])


def test_names_and_types_matter():
    assert content_hash(pa.table({"x": [1]})) != content_hash(pa.table({"y": [1]}))
    assert content_hash(pa.table({"x": [1]})) != content_hash(pa.table({"x": [1.0]}))


def test_file_hash_is_sha256(tmp_path):
    (tmp_path / "x").write_bytes(b"abc")
    # FIPS 180-2, appendix B.1.
    expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert file_hash(tmp_path / "x") == expected
