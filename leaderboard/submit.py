"""Make a submission out of what ``evaluate`` stored: results, policies, curves, and who says so.

Of a run only what plays is taken (``Agent.policy_state``), so a submission is small: no critics, no optimizers, no
data. An agent that is installed wherever this package is goes in as weights and its name; any other goes in as an
ONNX graph, because nobody should have to run a stranger's Python in order to believe a number.
"""

from __future__ import annotations

import datetime
import inspect
import logging
import os
import re
import shutil
import tempfile
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from leaderboard.bundle import (
    CURVES,
    FORMAT,
    ONNX_SUFFIX,
    POLICIES,
    README,
    RESULTS,
    SUBMISSION,
    WEIGHTS_SUFFIX,
    Curves,
    PolicyRecord,
    Submission,
    file_hash,
    stem_of,
)
from leaderboard.onnx_export import export_policy
from leaderboard.text_check import check_words
from offmarl_bench import registry
from offmarl_bench.agent import Agent
from offmarl_bench.atomic import write_atomic
from offmarl_bench.checkpoint import write_tensors
from offmarl_bench.errors import FormatError, OffmarlError
from offmarl_bench.home import runs_dir
from offmarl_bench.ids import newest_among
from offmarl_bench.logs import read_log
from offmarl_bench.records import write_record
from offmarl_bench.report import one_run
from offmarl_bench.results import Result, load_results, result_key
from offmarl_bench.runs import is_finished, load_agent

log = logging.getLogger(__name__)

FORMS = ("auto", "weights", "onnx", "none")
"""How policies are stored; ``auto``: weights if the agent comes with this package, else a graph."""
HOME_DISTRIBUTION = "offmarl-bench"
FOLDER_MODE = 0o755
"""As any folder; ``mkdtemp`` keeps its own to their owner."""
CURVE_POINTS = 100
"""Points kept of a training log, evenly spread, the last one included."""
LOG_FIELDS = ("phase", "step", "total", "seconds")


def default_slug(name: str) -> str:
    """A folder's name out of an entry's: ``SIT (reference)`` → ``sit-reference``. Raises FormatError."""
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    if not slug:
        raise FormatError(f"name {name!r}: no letters to name a folder after; give --out")
    return slug


def deviations_of(agent: str) -> tuple[str, ...]:
    """The list *Differences from the paper* in the docstring of an agent's module, one text per item."""
    text = inspect.getdoc(inspect.getmodule(registry.resolve("agents", agent))) or ""
    _, found, after = text.partition("Differences from")
    items: list[str] = []
    for line in after.splitlines()[1:]:
        start = re.match(r"\s*(?:\*|-|\d+\.)\s+(.*)", line)
        if start:
            items.append(start[1].strip())
        elif items and line.startswith(" ") and line.strip():
            items[-1] += f" {line.strip()}"
        elif items and line.strip() and not line.startswith("Stage"):
            break  # ordinary text again
    return tuple(items) if found else ()


def chosen_results(
    agent: str, datasets: Sequence[str], preset: str, overrides: Mapping[str, Any], directory: Path | None = None
) -> list[Result]:
    """The stored results of one agent: of each dataset the run configuration with most updates, then most seeds.

    Raises:
        OffmarlError: there are none. UnknownName: a dataset has none.
    """
    mine = [
        r for r in load_results(directory)
        if (r.agent, r.preset, r.overrides) == (agent, preset, dict(overrides)) and r.dataset is not None
    ]  # fmt: skip
    groups: dict[str, list[Result]] = defaultdict(list)
    for r in mine:
        groups[r.dataset or ""].append(r)
    wanted = [newest_among(d, groups) for d in datasets] or sorted(groups)
    missing = [d for d in wanted if d not in groups]
    if missing and groups:
        raise registry.unknown(f"dataset with results of {agent}@{preset}", missing[0], sorted(groups))
    if not wanted or missing:
        where = f" on {missing[0]}" if missing else ""
        settings = "".join(f" --set {k}={v}" for k, v in overrides.items())
        raise OffmarlError(
            f"no stored results of {agent}@{preset}{settings}{where}; first: offmarl-bench evaluate {agent}"
            + (f" --dataset {missing[0]}" if missing else "") + (f" --preset {preset}" if preset != "default" else "")
        )  # fmt: skip
    found: list[Result] = []
    for dataset in wanted:
        results, left_out = one_run(groups[dataset], f"{agent} on {dataset}")
        for line in left_out:
            log.warning("%s", line)
        found += results
    return found


def _form(form: str, agent: str) -> str:
    if form not in FORMS:
        raise FormatError(f"policies as {form!r}: expected one of {', '.join(FORMS)}")
    if form != "auto":
        return form
    return "weights" if registry.distribution("agents", agent) == HOME_DISTRIBUTION else "onnx"


def curves_of(run_dir: Path) -> Curves | None:
    """What a run logged, thinned; None if it logged nothing."""
    rows = read_log(run_dir)
    if not rows:
        return None
    kept = [rows[k] for k in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), CURVE_POINTS)).astype(int))]
    names = dict.fromkeys(name for row in kept for name in row if name not in LOG_FIELDS)
    return Curves(
        phases=tuple(str(row["phase"]) for row in kept),
        updates=tuple(row["total"] for row in kept),
        seconds=tuple(float(row["seconds"]) for row in kept),
        metrics={name: [row.get(name) for row in kept] for name in names},
    )


def write_policy(folder: Path, stem: str, agent: Agent, result: Result, form: str, graph: Path | None = None) -> None:
    """Store what plays, as weights or as a graph, and the record that says how. Raises OffmarlError.

    Args:
        folder: of the submission.
        stem: name of its files.
        agent: trained.
        result: what it scored.
        form: ``weights`` or ``onnx``.
        graph: the agent's graph, if it is not to be exported.
    """
    suffix = WEIGHTS_SUFFIX if form == "weights" else ONNX_SUFFIX
    path = folder / POLICIES / f"{stem}{suffix}"
    how: dict[str, Any] = {}
    if form == "weights":
        write_tensors(path, agent.policy_state(), {"agent": agent.name})
    elif graph is not None:
        write_atomic(path, _read(graph))
    else:
        exported = export_policy(agent)
        write_atomic(path, exported.graph)
        how = {"epsilon": exported.epsilon, "softmax": exported.softmax, "noise": exported.noise}
    record = PolicyRecord(
        kind="agent" if form == "weights" else "onnx", agent=result.agent, preset=result.preset, config=result.config,
        spec=agent.spec.to_json(), dataset=result.dataset, seed=result.seed, weights=path.name,
        sha256=file_hash(path), **how,
    )  # fmt: skip
    write_record(folder / POLICIES / f"{stem}.json", record)


def _read(graph: Path) -> bytes:
    try:
        return graph.read_bytes()
    except OSError as e:
        raise OffmarlError(f"{graph}: cannot be read: {e.strerror or e}; --graphs needs one for every seed") from e


def _claims(results: Sequence[Result]) -> dict[str, float]:
    means: dict[str, list[float]] = defaultdict(list)
    for r in results:
        means[r.dataset or r.env_id].append(r.mean)
    return {dataset: float(np.mean(values)) for dataset, values in means.items()}


def _fill(
    folder: Path, submission: Submission, results: Sequence[Result], form: str, graphs: Path | None = None
) -> None:
    for result in tqdm(results, desc="submission", unit="run", disable=None):
        stem, run_dir = stem_of(result), runs_dir() / result_key(result)
        write_record(folder / RESULTS / f"{stem}.json", result)
        curves = curves_of(run_dir)
        if curves is not None:
            write_record(folder / CURVES / f"{stem}.json", curves)
        if form == "none":
            continue
        if not is_finished(run_dir):
            raise OffmarlError(
                f"{result.agent} on {result.dataset}, seed {result.seed}: its run is not in {run_dir}, so its policy "
                "cannot be submitted; evaluate it again, or submit results alone with --policies none"
            )
        graph = None if graphs is None else graphs / f"{stem}{ONNX_SUFFIX}"
        write_policy(folder, stem, load_agent(run_dir), result, form, graph)
    write_record(folder / SUBMISSION, submission)


def submit(
    agent: str,
    name: str,
    *,
    out: Path,
    datasets: Sequence[str] = (),
    preset: str = "default",
    overrides: Mapping[str, Any] | None = None,
    description: str = "",
    authors: Sequence[str] = (),
    url: str | None = None,
    policies: str = "auto",
    graphs: Path | None = None,
    readme: str | None = None,
    results: Path | None = None,
) -> Path:
    """Bundle the stored results and policies of one agent.

    Args:
        agent: registered name or ``module:attr``.
        name: title of the entry.
        out: the folder to make; its name is the entry's slug.
        datasets: ids; none: all that the agent has results on.
        preset: of the results.
        overrides: settings of the results.
        description: plain text.
        authors: names.
        url: of code or paper.
        policies: one of ``FORMS``.
        graphs: folder with one graph per result, ``STEM.onnx``, to take instead of exporting them.
        readme: more words, as Markdown.
        results: folder of results; None: ``$OFFMARL_HOME/results``.

    Returns:
        ``out``.

    Raises:
        OffmarlError: no such results, no policy, or the folder exists. UnknownName: no such agent.
        FormatError: a run or result that is damaged, or words that validation refuses.
    """
    if out.exists():
        raise OffmarlError(f"{out} exists; choose another --out, or delete it first")
    form = "onnx" if graphs is not None else _form(policies, agent)
    deviations = deviations_of(agent)
    chosen = chosen_results(agent, datasets, preset, overrides or {}, results)
    submission = Submission(
        format=FORMAT, name=name, agent=agent, preset=preset, overrides=dict(overrides or {}),
        description=description, authors=tuple(authors), url=url,
        created=datetime.datetime.now(datetime.UTC).date().isoformat(), commit=chosen[0].commit,
        versions=chosen[0].versions, deviations=deviations, claims=_claims(chosen),
    )  # fmt: skip
    check_words(submission, f"submission {name[:40]!r}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(dir=out.parent, prefix=f".{out.name}."))
    except OSError as e:
        raise OffmarlError(f"cannot write {out}: {e.strerror or e}; choose a writable place with --out") from e
    try:
        _fill(temporary, submission, chosen, form, graphs)
        if readme is not None:
            write_atomic(temporary / README, readme.encode())
        temporary.chmod(FOLDER_MODE)
        os.replace(temporary, out)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return out
