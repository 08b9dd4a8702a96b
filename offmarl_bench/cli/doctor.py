"""``doctor``: audit anybody's offline multi-agent dataset."""

from __future__ import annotations

import shutil
import textwrap
from typing import TYPE_CHECKING, Any

import click

from offmarl_bench.cli.failures import Failure
from offmarl_bench.cli.options import examples, json_option, print_json

if TYPE_CHECKING:
    from offmarl_bench.doctor.findings import Finding
    from offmarl_bench.doctor.report import Diagnosis, Patient

COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}
MAX_WIDTH = 110
"""Characters of a line, where the terminal has them."""
MIN_WIDTH = 40
MARGIN = 10
"""Characters before the evidence: the width of the severities."""
MEGA = 1e6


def _finding(finding: Finding, width: int) -> list[str]:
    from offmarl_bench.doctor.findings import escaped

    severity = click.style(f"  {finding.severity:<8}", fg=COLOURS[finding.severity], bold=True)
    indent = " " * MARGIN
    lines = [f"{severity}{click.style(finding.code, bold=True)}  {finding.what}"]
    for mark, text in (("", finding.evidence), ("→ ", finding.fix)):
        lines += textwrap.wrap(
            mark + escaped(text), width, initial_indent=indent, subsequent_indent=indent + "  " * bool(mark)
        )
    return lines


def _patient(patient: Patient, width: int) -> list[str]:
    from offmarl_bench.doctor.findings import escaped

    layout = patient.layout
    kind = f"{layout.actions or '?'} choices" if layout.discrete else f"{layout.actions} action components"
    low, high = patient.return_range
    return [
        click.style(escaped(layout.path), bold=True),
        f"  {layout.format} format, {layout.raw_bytes / MEGA:,.1f} MB raw: {layout.episodes:,} episodes, "
        f"{patient.steps:,} steps of {patient.lengths[0]} to {patient.lengths[1]}",
        f"  {layout.n} agents, {layout.obs} observations, {layout.state or 'no'} state, {kind}; "
        f"mean return {patient.return_mean:.4g} ({low:.4g} to {high:.4g})",
        *(line for f in patient.findings for line in _finding(f, width)),
        *([] if patient.findings else ["  nothing found"]),
    ]


def _verdict(found: Diagnosis, strict: bool) -> str:
    counts = ", ".join(
        f"{n} {s}{'s' if n != 1 and s != 'info' else ''}"
        for s in COLOURS
        if (n := found.count(s))  # type: ignore[arg-type]
    )
    ok = found.ok(strict)
    return click.style("healthy" if ok else "NOT healthy", fg="green" if ok else "red") + (
        f": {counts}" if counts else ""
    )


def _as_text(found: Diagnosis, strict: bool, width: int) -> str:
    lines: list[str] = []
    for patient in found.patients:
        lines += [*_patient(patient, width), ""]
    if found.across:
        lines += [click.style("between the datasets", bold=True)]
        lines += [line for f in found.across for line in _finding(f, width)] + [""]
    return "\n".join([*lines, _verdict(found, strict)])


def _no_nan(_: click.Context, __: click.Parameter, value: float | None) -> float | None:
    if value is not None and not abs(value) < float("inf"):
        raise click.BadParameter(f"{value} is not a number that a mean return can be")
    return value


@click.command(
    epilog=examples(
        "offmarl-bench doctor smac/2s3z/low",
        "offmarl-bench doctor 5m_vs_6m_expert.h5 5m_vs_6m_mixed.h5       are they different data?",
        "offmarl-bench doctor data/simple_spread/seed_0_data --returns-documented 16.0",
        "offmarl-bench doctor vaults/smac_v1/3m.vlt/Good --json --strict",
    )
)
@click.argument("paths", metavar="PATH [PATH2 …]", nargs=-1, required=True)
@click.option(
    "--returns-documented",
    "documented",
    type=float,
    callback=_no_nan,
    help="The mean return that the paper or page gives.",
)
@click.option("--strict", is_flag=True, help="Warnings count as errors.")
@json_option
def doctor(paths: tuple[str, ...], documented: float | None, strict: bool, as_json: bool) -> Any:
    """Audit offline multi-agent datasets of any format: what is wrong in them, or unwise.

    PATH is a file, a folder or the id of a local dataset: our format, PyMARL's padded HDF5 (ICQ, CFCQL, OffPyMARL),
    folders of .npy as in OMAR, OMIGA's HDF5, OG-MARL Vaults (needs flashbax), Minari, D4RL's flat HDF5. Several are
    also compared with each other.

    Exits with 0 if there are no errors, with 1 if there are, with 2 for a wrong command line.
    """
    from offmarl_bench.doctor.report import diagnose

    found = diagnose(paths, documented_return=documented, progress=not as_json)
    if as_json:
        print_json({**found.to_json(), "ok": found.ok(strict)})
    else:
        width = max(MIN_WIDTH, min(MAX_WIDTH, shutil.get_terminal_size().columns - 1))
        click.echo(_as_text(found, strict, width))
    if not found.ok(strict):
        blamed = found.count("error") + (found.count("warning") if strict else 0)
        raise Failure(f"{blamed} finding{'s' if blamed != 1 else ''} to act on, listed above")
