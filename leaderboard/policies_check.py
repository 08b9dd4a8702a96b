"""Do the policies of a submission belong to its results, and is each a file that can be played without fear?"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from leaderboard.bundle import (
    CURVES,
    ONNX_SUFFIX,
    POLICIES,
    RESULTS,
    WEIGHTS_SUFFIX,
    Bundle,
    Curves,
    PolicyRecord,
    file_hash,
)
from leaderboard.onnx_check import check_graph
from leaderboard.text_check import check_texts
from leaderboard.weights_check import check_weights
from offmarl_bench import registry
from offmarl_bench.agent import Agent
from offmarl_bench.envs import get_spec
from offmarl_bench.errors import FormatError
from offmarl_bench.records import from_json, read_record
from offmarl_bench.results import Result

SUFFIXES = {"agent": WEIGHTS_SUFFIX, "onnx": ONNX_SUFFIX}
MAX_SETTING = 10**7
"""No setting that is a whole number is larger: widths and counts, all of which cost memory or time."""
MAX_NOISE = 2.0
"""Actions are in [−1, 1]: more noise than their range is no play of anybody's."""
MAX_POINTS = 1000
"""Of a training curve."""


def check_agent_name(agent: str, where: str, *, trust: bool) -> None:
    """Refuse weights of an agent whose code is not installed here, or is named by its module.

    Raises:
        FormatError: such a name.
    """
    if ":" in agent and not trust:
        raise FormatError(
            f"{where}: agent {agent!a} is code that the submission names; it is not run. Submit a graph "
            "(--policies onnx); whoever knows the code can pass --trust"
        )
    if ":" not in agent and agent not in registry.names("agents"):
        close = registry.did_you_mean(agent, registry.names("agents"))
        raise FormatError(f"{where}: agent {agent!a} is not installed here.{close} Submit a graph (--policies onnx)")


def settings_of(config: dict[str, Any], agent: str, where: str) -> Any:
    """The config of an installed agent out of JSON, every field checked against its type.

    Raises:
        FormatError: unknown, ill-typed or enormous settings.
    """
    cls: type[Agent] = registry.resolve("agents", agent)
    for name, value in config.items():
        if isinstance(value, int) and abs(value) > MAX_SETTING:
            raise FormatError(f"{where}: setting {name[:40]!r} is {value}; nothing larger than {MAX_SETTING} is built")
    if not dataclasses.is_dataclass(cls.Config):
        raise FormatError(f"{where}: agent {agent!r} has no Config that could be checked")
    defaults = {f.name: f.default for f in dataclasses.fields(cls.Config) if f.default is not dataclasses.MISSING}
    # Settings that came later than the submission have their defaults, as in ``runs.load_agent``.
    plain = defaults | {k: tuple(v) if isinstance(v, list) else v for k, v in config.items()}
    try:
        return from_json(cls.Config, plain, where)
    except (TypeError, ValueError) as e:
        raise FormatError(str(e) if str(e).startswith(where) else f"{where}: {e}") from e


def _check_record(record: PolicyRecord, result: Result, path: Path, *, trust: bool) -> None:
    where = str(path)
    if record.kind not in SUFFIXES:
        raise FormatError(f"{where}: kind is {ascii(record.kind)[:20]}, expected agent or onnx")
    if record.weights != f"{path.stem}{SUFFIXES[record.kind]}":
        raise FormatError(
            f"{where}: weights {ascii(record.weights)[:60]}, expected {path.stem}{SUFFIXES[record.kind]!r}"
        )
    weights = path.with_name(record.weights)
    if not weights.is_file() or file_hash(weights) != record.sha256:
        raise FormatError(f"{weights}: is missing or is not the file that {path.name} was written for")
    for name in ("agent", "preset", "config", "dataset", "seed"):
        if getattr(record, name) != getattr(result, name):
            raise FormatError(f"{where}: {name} is not that of {RESULTS}/{path.name}; a policy goes with its result")
    spec = get_spec(result.env_id)
    if record.spec != spec.to_json():
        raise FormatError(f"{where}: spec is not that of {spec.id} as it is here; train on the present version")
    if not 0 <= record.epsilon <= 1:
        raise FormatError(f"{where}: epsilon is {record.epsilon}, expected a number from 0 to 1")
    if record.noise is not None and not 0 <= record.noise <= MAX_NOISE:
        raise FormatError(f"{where}: noise is {record.noise}, expected null or a number from 0 to {MAX_NOISE}")
    if record.kind == "agent":
        check_agent_name(record.agent, where, trust=trust)
        settings_of(record.config, record.agent, where)
        check_weights(weights)
    else:
        check_graph(weights, spec)


def check_policies(bundle: Bundle, *, trust: bool = False) -> int:
    """Refuse policies that do not belong to the results one by one, or are unfit to be played.

    Returns:
        How many there are: none, or one per result.

    Raises:
        FormatError: what is wrong.
    """
    folder = bundle.path / POLICIES
    records = {p.stem: p for p in sorted(folder.glob("*.json"))}
    files = {p.stem for p in folder.glob("*") if p.suffix != ".json"}
    if not records and not files:
        return 0
    if set(records) != set(bundle.results) or files != set(records):
        odd = sorted(set(records) ^ set(bundle.results) or files ^ set(records))[0]
        raise FormatError(
            f"{folder}: {len(records)} records and {len(files)} policies for {len(bundle.results)} results ({odd}); "
            "give one of each for every result, or none"
        )
    for stem, path in records.items():
        record = read_record(PolicyRecord, path)
        check_texts([record.config, record.spec, record.agent, record.preset], str(path))
        _check_record(record, bundle.results[stem], path, trust=trust)
    return len(records)


def check_curves(bundle: Bundle) -> None:
    """Refuse curves that belong to no result or whose columns have different lengths. Raises FormatError."""
    for path in sorted((bundle.path / CURVES).glob("*.json")):
        curves = read_record(Curves, path)
        points = len(curves.updates)
        if path.stem not in bundle.results or not 1 <= points <= MAX_POINTS:
            raise FormatError(f"{path}: expected 1 to {MAX_POINTS} points of a run that has a result")
        columns = [curves.phases, curves.seconds, *curves.metrics.values()]
        for column in columns:
            if not isinstance(column, list | tuple) or len(column) != points:
                raise FormatError(
                    f"{path}: columns of different lengths; every metric has one number or null per point"
                )
        if not all(
            v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for c in columns[2:] for v in c
        ):
            raise FormatError(f"{path}: a metric holds something that is no number")
        check_texts([list(dict.fromkeys(curves.phases)), list(curves.metrics)], str(path))
