"""MuJoCo, which is an optional package, and its models: loaded once a process, stepped in batches of C++.

``mujoco.batch`` keeps the state of many simulations in one array and steps them without Python; what comes out is equal
to stepping them one by one.
"""

from __future__ import annotations

import functools
import hashlib
import importlib
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import gymnasium

from offmarl_bench.envs.mamujoco.maps import SUITE
from offmarl_bench.envs.mamujoco.robots import Robot
from offmarl_bench.errors import OffmarlError

log = logging.getLogger(__name__)

ASSETS = Path(gymnasium.__file__).parent / "envs" / "mujoco" / "assets"
INSTALL = "pip install 'offmarl-bench[mujoco]'"
THREADS = 1
"""Threads of one batch: parallel work is whole shards and whole runs."""


def mujoco_version() -> str:
    """Version of the installed MuJoCo. Raises OffmarlError if there is none."""
    try:
        return version("mujoco")
    except PackageNotFoundError as e:
        raise OffmarlError(f"suite {SUITE} needs the package mujoco, which is not installed; {INSTALL}") from e


def optional(module: str, package: str) -> Any:
    """A module of a package that is not among our requirements. Raises OffmarlError if it is missing or too old."""
    try:
        return importlib.import_module(module)
    except ImportError as e:
        raise OffmarlError(
            f"suite {SUITE} needs {module} of the package {package}, which cannot be imported ({e}); {INSTALL}"
        ) from e


@contextmanager
def warnings_to_log() -> Iterator[None]:
    """MuJoCo warns on stderr and in a file in the working directory; here it goes where all our messages go.

    Raises:
        OffmarlError: no mujoco.
    """
    mujoco = optional("mujoco", "mujoco")
    before = mujoco.get_mju_user_warning()
    mujoco.set_mju_user_warning(lambda text: log.debug("mujoco: %s", text))
    try:
        yield
    finally:
        mujoco.set_mju_user_warning(before)


@functools.cache
def load_model(robot: Robot) -> Any:
    """The compiled model (``mujoco.MjModel``) of a robot; nobody may change it.

    Raises:
        OffmarlError: no mujoco, or an installed Gymnasium that has another body under that name.
    """
    mujoco = optional("mujoco", "mujoco")
    path = ASSETS / robot.xml
    try:
        content = path.read_bytes()
    except OSError as e:
        raise OffmarlError(f"{path}: cannot be read ({e.strerror}); reinstall gymnasium") from e
    if hashlib.sha256(content).hexdigest() != robot.sha256:
        raise OffmarlError(
            f"{path}: not the {robot.name} of gymnasium 1.4.0 that this version was tested with (gymnasium "
            f"{gymnasium.__version__} is installed), and another body moves otherwise; install gymnasium==1.4.0"
        )
    with warnings_to_log():
        model = mujoco.MjModel.from_xml_string(content.decode())
    here = (model.nq, model.nv, model.nu, model.opt.timestep)
    if here != (robot.coordinates, robot.coordinates, len(robot.joints), robot.timestep):
        raise OffmarlError(f"{path}: the model has {here} positions, velocities, motors and seconds a step")
    return model


def batch(robot: Robot, lanes: int) -> Any:
    """Many simulations of a robot (``mujoco.batch.Batch``).

    Raises:
        OffmarlError: as ``load_model``, or a mujoco that is too old for batches.
    """
    model = load_model(robot)
    return optional("mujoco.batch", "mujoco (3.17 or newer)").Batch(model, lanes, THREADS)
