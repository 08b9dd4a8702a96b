"""The local executor: results as they come, errors and killed workers end cleanly."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from typing import Any

import pytest

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import LocalExecutor
from offmarl_bench.ray_executor import RayExecutor


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


class FakeRay:
    """What RayExecutor uses of Ray, in one process: tasks run when they are waited for."""

    class exceptions:  # noqa: N801  (Ray's name)
        class RayError(Exception): ...

        class RayTaskError(RayError):
            def __init__(self, cause: Exception) -> None:
                self.cause = cause

    def __init__(self) -> None:
        self.started: dict[str, Any] = {}
        self.most = 0
        self.cancelled = 0

    def is_initialized(self) -> bool:
        return bool(self.started)

    def init(self, **options: Any) -> None:
        self.started = options

    def remote(self, fn: Any) -> Any:
        class Remote:
            def options(self, **_: Any) -> Any:
                return self

            def remote(self, task: Any) -> Any:
                return lambda: fn(task)

        return Remote()

    def wait(self, running: list[Any], num_returns: int) -> tuple[list[Any], list[Any]]:
        self.most = max(self.most, len(running))
        return running[-num_returns:], running[:-num_returns]

    def get(self, reference: Any) -> Any:
        try:
            return reference()
        except ValueError as e:
            raise self.exceptions.RayTaskError(e) from e

    def cancel(self, reference: Any, force: bool) -> None:
        self.cancelled += 1


def half(x: int) -> int:
    if x % 2:
        raise ValueError(f"{x} is odd")
    return x // 2


def test_ray_runs_all_tasks_but_no_more_than_workers_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    executor = RayExecutor(3)
    assert sorted(executor.map(half, range(0, 20, 2))) == list(range(10))
    assert ray.most == 3
    assert ray.started["num_cpus"] == 3
    assert ray.started["runtime_env"]["env_vars"]["OMP_NUM_THREADS"] == "1"


def test_an_error_in_a_ray_task_is_raised_here_and_ends_the_others(monkeypatch: pytest.MonkeyPatch) -> None:
    ray = FakeRay()
    monkeypatch.setitem(sys.modules, "ray", ray)
    with pytest.raises(ValueError, match="3 is odd"):
        list(RayExecutor(2).map(half, [2, 3, 4]))
    assert ray.cancelled == 2


def test_without_ray_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(OffmarlError, match=r"pip install 'offmarl-bench\[ray\]', or use --executor local"):
        RayExecutor(2)
    with pytest.raises(FormatError, match="workers is 0, expected at least 1"):
        RayExecutor(0)
