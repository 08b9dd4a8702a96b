"""The executor ``ray``: the same ``map`` over a Ray cluster, or over this machine where there is none.

For shards and runs that should be spread over machines. All of them must see the same ``$OFFMARL_HOME`` (a shared
folder), since shards and runs are files. Needs ``pip install 'offmarl-bench[ray]'``.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.executors import THREADS

Task = TypeVar("Task")
Result = TypeVar("Result")


class RayExecutor:
    """Tasks on Ray, one core each. Joins a running cluster if ``RAY_ADDRESS`` names one.

    Args:
        workers: tasks at the same time; also the size of the local cluster where one has to be started.

    Raises:
        FormatError: fewer than one worker.
        OffmarlError: Ray is not installed or cannot start.
    """

    def __init__(self, workers: int = 1) -> None:
        if workers < 1:
            raise FormatError(f"workers is {workers}, expected at least 1")
        try:
            import ray
        except ImportError as e:
            raise OffmarlError(
                "the executor 'ray' needs Ray, which is not installed: pip install 'offmarl-bench[ray]', "
                "or use --executor local"
            ) from e
        self.workers = workers
        self._ray: Any = ray
        if not ray.is_initialized():
            variables = dict.fromkeys(THREADS, "1") | {
                k: v for k, v in os.environ.items() if k in ("OFFMARL_HOME", "PYTHONPATH")
            }
            size = {} if os.environ.get("RAY_ADDRESS") else {"num_cpus": workers, "include_dashboard": False}
            try:
                ray.init(log_to_driver=False, runtime_env={"env_vars": variables}, **size)
            except (ConnectionError, RuntimeError, ValueError) as e:
                raise OffmarlError(f"Ray did not start: {e}; check RAY_ADDRESS, or use --executor local") from e

    def map(self, fn: Callable[[Task], Result], tasks: Iterable[Task]) -> Iterator[Result]:
        """Yield ``fn(task)`` for all tasks, in order of completion; at most ``workers`` run at the same time.

        Raises:
            OffmarlError: a worker died, or whatever ``fn`` raises.
        """
        remote = self._ray.remote(fn).options(num_cpus=1)
        waiting = iter(list(tasks))
        running = [remote.remote(task) for task in islice(waiting, self.workers)]
        try:
            while running:
                done, running = self._ray.wait(running, num_returns=1)
                running += [remote.remote(task) for task in islice(waiting, len(done))]
                yield self._ray.get(done[0])
        except self._ray.exceptions.RayTaskError as e:
            raise e.cause from e
        except self._ray.exceptions.RayError as e:
            raise OffmarlError(f"a Ray worker died: {e}; run again: finished work is kept") from e
        finally:
            for reference in running:
                self._ray.cancel(reference, force=True)
