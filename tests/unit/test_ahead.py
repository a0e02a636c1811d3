"""Work one step ahead: in order, bounded, and no fault is lost."""

from __future__ import annotations

from collections.abc import Iterator
from threading import current_thread, main_thread

import pytest

from nunatak.ahead import one_ahead


def test_results_come_in_order_from_another_thread() -> None:
    def work(item: int) -> tuple[int, bool]:
        return item * item, current_thread() is main_thread()

    assert list(one_ahead(work, range(5))) == [(n * n, False) for n in range(5)]
    assert list(one_ahead(work, [])) == []


def test_work_is_never_more_than_one_item_ahead() -> None:
    taken: list[int] = []

    def items() -> Iterator[int]:
        for item in range(5):
            taken.append(item)
            yield item

    for used, _ in enumerate(one_ahead(str, items()), start=1):
        assert len(taken) == min(used + 1, 5)


def test_a_fault_is_raised_in_its_turn() -> None:
    results = one_ahead(lambda n: 6 // n, [2, 1, 0])
    assert next(results) == 3
    assert next(results) == 6
    with pytest.raises(ZeroDivisionError):
        next(results)
