"""Executors: ``map(function, tasks)`` somewhere else, results as they come.

An executor is made from a number of workers and found by name through the entry-point group
``offmarl_bench.executors``. Functions and tasks must travel between processes, so they are module-level functions
and plain values. Nothing about a result may depend on where or in which order tasks ran.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from offmarl_bench.errors import FormatError, OffmarlError

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Variables that keep numerical libraries from taking more than one core a worker."""

Task = TypeVar("Task")
Result = TypeVar("Result")


class Executor(Protocol):
    """Runs tasks somewhere; what an entry point of ``offmarl_bench.executors`` makes from a number of workers."""

    def map(self, fn: Callable[[Any], Any], tasks: Iterable[Any]) -> Iterator[Any]:
        """Results in order of completion."""
        ...


def _start_worker() -> None:
    """Make a worker that uses one core, leaves Ctrl-C to its parent, and never outlives it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ.update(dict.fromkeys(THREADS, "1"))  # for libraries that are yet to be imported …
    if "torch" in sys.modules:  # … and the one that a user's script may have imported
        sys.modules["torch"].set_num_threads(1)
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_follow, args=(parent,), daemon=True).start()


def _follow(parent: multiprocessing.process.BaseProcess) -> None:
    parent.join()  # returns when the parent is gone, however it went
    os._exit(1)


class LocalExecutor:
    """Processes on this machine; with one worker the work is done in this process.

    Args:
        workers: number of processes.

    Raises:
        FormatError: fewer than one worker.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise FormatError(f"workers is {workers}, expected at least 1")
        self.workers = workers

    def map(self, fn: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield ``fn(task)`` for all tasks, in order of completion.

        An error in a task ends the others and is raised here. So does leaving the iteration early, by Ctrl-C or
        otherwise: no process is left behind.

        Raises:
            OffmarlError: a worker was killed.
        """
        waiting = list(tasks)
        if self.workers == 1 or len(waiting) <= 1:
            yield from map(fn, waiting)
            return
        others = set(multiprocessing.active_children())
        # spawned, not forked: a fork copies locks that numba's and torch's threads may hold at that moment
        pool = ProcessPoolExecutor(
            min(self.workers, len(waiting)), multiprocessing.get_context("spawn"), initializer=_start_worker
        )
        clean = False
        try:
            for future in as_completed([pool.submit(fn, task) for task in waiting]):
                yield future.result()
            clean = True
        except BrokenProcessPool as e:
            raise OffmarlError(
                "a worker process died (killed, out of memory, or a script without `if __name__ == '__main__':`); "
                "run again, perhaps with fewer workers: finished work is kept"
            ) from e
        finally:
            if not clean:
                for process in set(multiprocessing.active_children()) - others:
                    process.terminate()
            pool.shutdown(cancel_futures=True)
