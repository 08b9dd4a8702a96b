"""The local executor: results as they come, errors and killed workers end cleanly."""

from __future__ import annotations

import multiprocessing
import os
import signal

import pytest

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import LocalExecutor


def square(x: int) -> tuple[int, int, str]:
    return x * x, os.getpid(), os.environ.get("OMP_NUM_THREADS", "")


def fail_at_two(x: int) -> int:
    if x == 2:
        raise FormatError("two is refused")
    return x


def die(x: int) -> int:
    os.kill(os.getpid(), signal.SIGKILL)
    return x


def test_one_worker_works_in_this_process_and_lazily() -> None:
    results = LocalExecutor(1).map(square, [1, 2, 3])
    assert next(results)[:2] == (1, os.getpid())
    assert [r[0] for r in results] == [4, 9]


def test_several_workers_are_other_processes_with_one_thread_each() -> None:
    results = list(LocalExecutor(2).map(square, range(6)))
    assert sorted(r[0] for r in results) == [0, 1, 4, 9, 16, 25]
    assert os.getpid() not in {r[1] for r in results}
    assert {r[2] for r in results} == {"1"}
    assert not multiprocessing.active_children()


def test_an_error_in_a_worker_is_raised_here_and_leaves_no_process() -> None:
    with pytest.raises(FormatError, match="two is refused"):
        list(LocalExecutor(2).map(fail_at_two, range(4)))
    assert not multiprocessing.active_children()


def test_a_killed_worker_is_one_clear_line() -> None:
    with pytest.raises(
        OffmarlError, match=r"a worker process died \(killed, out of memory.*run again, perhaps with fewer"
    ):
        list(LocalExecutor(2).map(die, range(4)))
    assert not multiprocessing.active_children()


def test_leaving_early_leaves_no_process() -> None:
    results = LocalExecutor(2).map(square, range(4))
    next(results)
    results.close()  # type: ignore[attr-defined]
    assert not multiprocessing.active_children()


def test_no_worker_is_refused() -> None:
    with pytest.raises(FormatError, match="workers is 0, expected at least 1"):
        LocalExecutor(0)
