"""Weights & Biases as one more place for a run's numbers: only where it is asked for, never a dependency.

The run's id follows from what the run is, so a run that was killed and resumed goes on in the same chart. The axis is
our own count of updates, since after a resume some points are sent a second time (with the same values).
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from offmarl_bench.errors import OffmarlError

PACKAGE = "wandb"
EXTRA = "pip install 'offmarl-bench[wandb]'"
AXIS = "updates"


def check_wandb() -> None:
    """Say that the package is missing before anything is trained. Raises OffmarlError."""
    if find_spec(PACKAGE) is None:
        raise OffmarlError(
            f"--wandb sends metrics to Weights & Biases, whose package is not installed: {EXTRA}, or leave --wandb out"
        )


class WandbLog:
    """One run of Weights & Biases.

    Args:
        project: where it is shown.
        name: of the run, for people.
        group: what it is averaged with: everything but the seed.
        run_id: the same for the same run.
        directory: where the package keeps its own files.
        config: what to show as settings.

    Raises:
        OffmarlError: the package is missing, or cannot start (no login, no server, no disk).
    """

    def __init__(
        self, project: str, *, name: str, group: str, run_id: str, directory: Path, config: Mapping[str, Any]
    ) -> None:
        check_wandb()
        try:
            self._run: Any = import_module(PACKAGE).init(
                project=project, name=name, group=group, id=run_id, resume="allow", dir=str(directory),
                config=dict(config),
            )  # fmt: skip
            self._run.define_metric(AXIS)
            self._run.define_metric("*", step_metric=AXIS)
        except Exception as e:  # whatever a package that we do not know throws when it cannot start
            why = str(e).strip().splitlines() or [type(e).__name__]
            raise OffmarlError(
                f"Weights & Biases cannot start for project {project!r}: {why[0]}; try `wandb login` or "
                "WANDB_MODE=offline, or leave --wandb out"
            ) from e

    def scalars(self, values: Mapping[str, float], total: int) -> None:
        """Numbers after ``total`` updates."""
        self._run.log({**values, AXIS: total})

    def close(self, failed: bool) -> None:
        """Send what is left, and say how it ended."""
        self._run.finish(exit_code=int(failed))
