"""The table of formats has all of them."""

from typing import get_args

from factorysim.spec.trace_format import FormatChoice, TraceFormat
from factorysim.workload.formats import FORMATS, carries
from tests.unit.workload.readers.samples import SAMPLES


def test_every_format_is_described_and_has_a_sample_or_tests_of_its_own():
    names = get_args(TraceFormat)
    assert list(FORMATS) == list(names)
    assert set(get_args(FormatChoice)) == {"auto", *names}
    assert set(names) - set(SAMPLES) == {"fstrace", "mooncake", "azure", "weka"}


def test_lines_of_the_table_fit_a_terminal():
    for name, info in FORMATS.items():
        assert len(f"{name:<17} {info.what}") <= 80
        assert len(f"    {info.status}: {carries(info)}") <= 80
