"""Figure 1(f): ICQ on data in which one agent plays well, and on the same data with agents exchanged at random."""

from __future__ import annotations

from offmarl_bench.comparison import Panel, panel
from offmarl_bench.exchange import exchange_agents
from offmarl_bench.home import home
from offmarl_bench.ids import SUFFIX
from offmarl_bench.loader import load_dataset
from offmarl_bench.pool import Pool, load_pool
from offmarl_bench.reproduction import Effort, Variant, run_variants, spec_of

AGENT = "icq"
FOLDER = "reproductions"
"""Under ``$OFFMARL_HOME``: where the exchanged data are kept."""


def figure1(dataset: str, effort: Effort) -> tuple[Panel, list[str]]:
    """The two runs of ICQ, with the mean returns of the pool's random and medium joint policies.

    Args:
        dataset: id or path of a dataset that is here.
        effort: how.

    Raises:
        OffmarlError: a run failed, or the exchanged data cannot be written. UnknownName: the map has no pool.
    """
    data = load_dataset(dataset)
    source = str(data.metadata.get("content_hash"))
    where = home() / FOLDER / f"{dataset.replace('/', '-').removesuffix(SUFFIX)}-exchanged-{source[:8]}{SUFFIX}"
    if not where.exists():
        exchange_agents(data).save(where)
    pool = load_pool(spec_of(dataset).id)
    found, missing = run_variants([Variant(title="ICQ", agent=AGENT)], dataset, effort)
    exchanged, failed = run_variants([Variant(title="ICQ, agents exchanged", agent=AGENT)], str(where), effort)
    lines = [(f"{level} joint policies", level_mean(pool, level)) for level in ("random", "medium")]
    return panel(dataset, found | exchanged, lines), [*missing, *failed]


def level_mean(pool: Pool, level: str) -> float:
    """Mean return of a level's joint policies. Raises UnknownName: the pool has none."""
    members = [pool.members[k].return_mean for k in pool.members_of(level)]
    return sum(members) / len(members)
