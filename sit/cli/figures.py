"""``reproduce fig3|fig4|fig7|fig8``: what the paper shows of SIT itself.

Figure 5, 6 and 7(a) are drawings; Figures 9 to 14 are ``reproduce curves``, 15 to 20 are ``fig3`` with other datasets.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from offmarl_bench.cli.figures import datasets_option, effort, figure_options, show
from offmarl_bench.cli.options import examples

LOW, MEDIUM, SPARSE = "smac/2s3z/low", "smac/2s3z/medium", "smac/2s3z/extreme-low"
BALANCED = tuple(f"smac/2s3z/{level}-balanced" for level in ("random", "medium", "expert"))
PANELS = {"a": (LOW,), "b": (SPARSE,), "c": BALANCED}
"""Datasets of the panels of Figure 4."""


@click.command(epilog=examples("offmarl-bench reproduce fig3 --budget quick --plots plots"))
@datasets_option(f"{MEDIUM} and {LOW}")
@figure_options
def fig3(datasets: tuple[str, ...], plots: Path, as_json: bool, no_generate: bool, **options: Any) -> None:
    """Figure 3: the decomposed reward of each agent while stage I learns, and the priorities that stage II makes of it.

    With other datasets Figures 15 to 20. Needs no evaluation; trains what has no finished run of sit.
    """
    from offmarl_bench.reproduction import ready
    from sit.intermediate import intermediate, plot_intermediate

    how = effort(options)
    there, missing = ready(datasets or (MEDIUM, LOW), workers=how.workers, make=not no_generate)
    found = [intermediate(name, how) for name in there]
    picture = plot_intermediate(found, plots / "fig3.png")
    show(plots, "fig3", [picture], "\n".join(f.to_markdown() for f in found), [f.to_json() for f in found], missing,
         as_json)  # fmt: skip


@click.command(
    epilog=examples(
        "offmarl-bench reproduce fig4 --budget quick --plots plots",
        "offmarl-bench reproduce fig4 --panel a --dataset mpe/CN_3ls3l/low",
    )
)
@click.option("--panel", "panels", type=click.Choice(list(PANELS)), multiple=True, help="Repeatable; default: all.")
@datasets_option("the paper's")
@figure_options
def fig4(
    panels: tuple[str, ...], datasets: tuple[str, ...], plots: Path, as_json: bool, no_generate: bool, **options: Any
) -> None:
    """Figure 4: SIT without each of its parts (a), without priorities (b), and all agents on balanced data (c).

    (a) on 2s3z low: without decomposition, attention, ensemble, GAT. (b) on 2s3z extreme-low. (c) the agents of Table 1
    on data in which all play alike.
    """
    from offmarl_bench.comparison import plot_panels, to_json, to_markdown
    from sit.variants import figure4

    how = effort(options)
    chosen = dict.fromkeys(panels or PANELS)
    found, missing = figure4({p: datasets or PANELS[p] for p in chosen}, how, make=not no_generate)
    show(plots, "fig4", [plot_panels(found, plots / "fig4.png")], to_markdown(found), to_json(found), missing, as_json)


@click.command(epilog=examples("offmarl-bench reproduce fig7 --budget quick --plots plots"))
@datasets_option(LOW)
@figure_options
def fig7(datasets: tuple[str, ...], plots: Path, as_json: bool, no_generate: bool, **options: Any) -> None:
    """Figure 7: stage I with a monotonic mixing network in place of attention.

    (b) what it makes of the reward, (c) what SIT then learns, both beside attention.
    """
    from offmarl_bench.comparison import plot_panels, to_json, to_markdown
    from offmarl_bench.reproduction import ready
    from sit.intermediate import intermediate, plot_intermediate
    from sit.variants import MONOTONIC, figure7

    how = effort(options)
    there, missing = ready(datasets or (LOW,), workers=how.workers, make=not no_generate)
    scored, failed = figure7(there, how)
    inside = [
        intermediate(name, how, overrides, f"{name}, {title}")
        for name in there
        for title, overrides in (("attention", {}), ("monotonic", MONOTONIC))
    ]
    pictures = [plot_intermediate(inside, plots / "fig7b.png"), plot_panels(scored, plots / "fig7c.png")]
    text = "\n".join([*(f.to_markdown() for f in inside), to_markdown(scored)])
    data = {"decomposition": [f.to_json() for f in inside], "scores": to_json(scored)}
    show(plots, "fig7", pictures, text, data, [*missing, *failed], as_json)


@click.command(epilog=examples("offmarl-bench reproduce fig8 --budget quick --seeds 3 --plots plots"))
@datasets_option(LOW)
@figure_options
def fig8(datasets: tuple[str, ...], plots: Path, as_json: bool, no_generate: bool, **options: Any) -> None:
    """Figure 8: SIT with other values of α, β and η, one at a time.

    α of Eq. (7), β of Eq. (10), η of Eq. (9) and (10). The grid is ours, around the paper's choice. η has a meaning
    only where uncertainty is "literal", so it is set. β acts after critic_warmup only: shorter runs cannot differ.
    """
    from offmarl_bench.comparison import plot_panels, to_json, to_markdown
    from offmarl_bench.reproduction import ready
    from sit.variants import figure8

    how = effort(options)
    there, missing = ready(datasets or (LOW,), workers=how.workers, make=not no_generate)
    found, failed = figure8(there, how)
    show(plots, "fig8", [plot_panels(found, plots / "fig8.png")], to_markdown(found), to_json(found),
         [*missing, *failed], as_json)  # fmt: skip
