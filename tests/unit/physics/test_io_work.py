"""Core-seconds behind bytes."""

import pytest

from factorysim.physics.io_work import IoCost, cost_of_cycles, operations


def test_work_is_bytes_and_operations_times_their_cycles():
    cost = cost_of_cycles(1.5, 2000.0, hz=2.5e9, operation_bytes=16384)
    assert cost.work_s(40_000) == pytest.approx((40_000 * 1.5 + 3 * 2000) / 2.5e9, rel=1e-12)


def test_no_message_is_without_an_operation():
    cost = IoCost(0.0, 1.0, 1500)
    assert [cost.work_s(size, n) for size, n in ((0, 1), (4, 1), (400, 100), (1501, 1))] == [
        1, 1, 100, 2,
    ]  # fmt: skip
    assert cost.work_s(0.0, messages=0) == 0.0


def test_messages_part_their_bytes_evenly():
    """Ten messages of 1,600 B need two packets of 1,500 B each, one of 16,000 B needs eleven."""
    assert operations(16_000, 10, 1500) == 20
    assert operations(16_000, 1, 1500) == 11


def test_a_store_that_does_so_many_bytes_a_second_on_so_many_cores_keeps_them_busy():
    """BlueField-4 claims 8 cores for 1.6 Tb/s and 16 for 20 M operations a second."""
    cost = IoCost(8 / 2e11, 16 / 2e7, 65536)
    size = 2e11
    assert cost.work_s(size) - operations(size, 1, 65536) * 16 / 2e7 == pytest.approx(8.0)
    assert operations(size, 1, 65536) * 16 / 2e7 < 3.0  # what the sum is above the claim
