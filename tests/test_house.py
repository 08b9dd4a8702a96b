"""The rules of the house that no linter knows: who may import whom, how long a file is, what an import costs."""

from __future__ import annotations

import ast
import fnmatch
import importlib
import json
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from configparser import ConfigParser
from pathlib import Path

import pytest

import offmarl_bench

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("offmarl_bench", "sit", "baselines", "leaderboard")
MAX_LINES = 400

LEVELS: tuple[tuple[str, ...], ...] = (
    ("errors",),
    ("types", "seeding"),
    ("registry", "home", "alone", "atomic", "provenance", "records", "memory"),
    (
        "ids",
        "format",
        "foreign",
        "interop",
        "ops",
        "nn",
        "kernels",
        "fused",
        "candidates",
        "recurrence",
        "flat",
        "continuous",
        "mixers",
        "recipes",
        "manifest",
    ),
    ("envs", "collate", "replay", "hub", "portable", "loader"),
    ("agent", "imbalance", "combine", "subsample", "exchange", "coverage"),
    (
        "slots",
        "policies",
        "continuous_policy",
        "joints",
        "rollout",
        "checkpoint",
        "csv_log",
        "wandb_log",
        "logs",
        "budget",
        "runs",
        "stages",
        "pool",
        "executors",
        "ray_executor",
    ),
    (
        "recording",
        "online_config",
        "online",
        "pool_train",
        "shards",
        "copies",
        "generate",
        "dial",
        "twin",
        "train",
        "train_runs",
        "results",
        "scoring",
        "jobs",
        "evaluation",
        "reproduction",
    ),
    (
        "stats",
        "aggregate",
        "marl_eval",
        "paper",
        "orders",
        "report",
        "report_lines",
        "report_html",
        "report_formats",
        "audit",
        "doctor",
        "describe",
        "catalog",
        "shelf",
        "testing",
        "pool_plot",
        "render",
    ),
    ("describe_text", "describe_plots", "curves", "comparison", "profiles", "table1"),
    ("cards", "card_files", "card_record", "card_text", "card_words"),
    ("bench", "bench_load", "bench_train", "demo", "publish", "admit", "regenerate"),
    ("cli",),
    ("__main__",),
)
"""The way of the data: a module may import from its own row and from rows above, never from below."""
LEVEL = {name: k for k, row in enumerate(LEVELS) for name in row}
NEVER_IMPORTED = ("sit", "baselines", "leaderboard")


def files(*folders: str) -> list[Path]:
    return sorted(p for folder in folders for p in (ROOT / folder).rglob("*.py"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def is_type_checking(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)


def imports(node: ast.AST, inside: bool = False, typing: bool = False) -> Iterator[tuple[ast.stmt, str, bool, bool]]:
    """Every import as (statement, dotted name, inside a function, for types only)."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from ((child, a.name, inside, typing) for a in child.names)
        elif isinstance(child, ast.ImportFrom):
            assert child.level == 0, f"relative import of {child.module}: write absolute ones"
            yield from ((child, f"{child.module}.{a.name}", inside, typing) for a in child.names)
        else:
            deeper = inside or isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
            yield from imports(child, deeper, typing or is_type_checking(child))


def ours(path: Path) -> Iterator[tuple[str, str, bool, bool, int]]:
    """Imports of our own packages: (package, part of it, inside a function, for types only, line)."""
    for statement, name, inside, typing in imports(ast.parse(path.read_text(encoding="utf-8"))):
        package, _, rest = name.partition(".")
        if package in PACKAGES:
            yield package, rest.partition(".")[0], inside, typing, statement.lineno


def part_of(path: Path) -> str:
    """The entry in LEVELS that a file of the library belongs to; empty for the top ``__init__``."""
    return module_of(path).partition(".")[2].partition(".")[0]


def test_every_module_of_the_library_has_a_level_and_every_level_a_module() -> None:
    found = {part_of(p) for p in files("offmarl_bench")} - {""}
    assert sorted(found - set(LEVEL)) == [], "add the module to LEVELS, where it belongs"
    assert sorted(set(LEVEL) - found) == [], "LEVELS names modules that do not exist"


def test_the_architecture_page_names_every_module() -> None:
    page = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    assert [name for name in LEVEL if f"`{name}`" not in page and name != "__main__"] == [], "add it to the table"
    for link in re.findall(r"\]\(([^)#]+)\)", page):
        assert (ROOT / "docs" / link).exists(), link


@pytest.mark.parametrize("path", files("offmarl_bench"), ids=module_of)
def test_the_library_imports_upwards_only(path: Path) -> None:
    here = part_of(path)
    for package, part, _, typing, line in ours(path):
        assert package not in NEVER_IMPORTED, f"{path}:{line}: the library knows no agent by name"
        if not typing and here and part in LEVEL:
            assert LEVEL[part] <= LEVEL[here], f"{path}:{line}: {here} must not import {part}"
            assert part != "cli" or here in ("cli", "__main__"), f"{path}:{line}: nothing imports the command line"


def test_no_two_modules_of_the_library_import_each_other() -> None:
    edges: dict[str, set[str]] = {}
    for path in files("offmarl_bench"):
        here = part_of(path)
        edges.setdefault(here, set()).update(
            part for _, part, _, typing, _ in ours(path) if not typing and part in LEVEL and part != here
        )
    done: set[str] = set()

    def visit(name: str, trail: tuple[str, ...]) -> None:
        assert name not in trail, f"import cycle: {' → '.join((*trail, name))}"
        if name not in done:
            for other in sorted(edges.get(name, ())):
                visit(other, (*trail, name))
            done.add(name)

    for name in sorted(edges):
        visit(name, ())


@pytest.mark.parametrize("path", files("sit", "baselines", "leaderboard"), ids=module_of)
def test_agents_import_the_library_and_not_each_other(path: Path) -> None:
    mine = path.relative_to(ROOT).parts[0]
    for package, part, _, _, line in ours(path):
        assert package in (mine, "offmarl_bench"), f"{path}:{line}: {mine} must not import {package}"
        commands = "cli" in path.relative_to(ROOT).parts  # plug-in commands take its options and parameter types
        assert part != "cli" or package == mine or commands, f"{path}:{line}: nothing imports the command line"


@pytest.mark.parametrize("path", files(*PACKAGES), ids=module_of)
def test_our_packages_are_imported_at_the_top_of_a_file(path: Path) -> None:
    lazy = "cli" in path.relative_to(ROOT).parts or path == ROOT / "offmarl_bench/__init__.py"
    late = [line for *_, inside, _, line in ours(path) if inside]
    assert lazy or late == [], f"{path}: imports inside functions in lines {late} are the scar of a cycle"


def test_the_rules_find_a_file_that_breaks_them(tmp_path: Path) -> None:
    bad = tmp_path / "bad.py"
    bad.write_text("def f():\n    from sit.agent import SIT\nif TYPE_CHECKING:\n    import offmarl_bench.loader\n")
    assert list(ours(bad)) == [("sit", "agent", True, False, 2), ("offmarl_bench", "loader", False, True, 4)]


@pytest.mark.parametrize("path", files(*PACKAGES, "tests", "benchmarks"), ids=module_of)
def test_files_are_short_named_after_things_and_say_what_they_are(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= MAX_LINES, f"{path}: over {MAX_LINES} lines; one idea a file"
    assert path.stem not in ("util", "utils", "helpers", "misc", "common"), f"{path}: name it after what it holds"
    tree = ast.parse(text)
    if text.strip():
        assert ast.get_docstring(tree), f"{path}: says nothing about itself"


@pytest.mark.parametrize("path", files(*PACKAGES), ids=module_of)
def test_the_library_never_prints_and_has_no_global_randomness(path: Path) -> None:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call):
            name = ast.unparse(node.func)
            assert name != "print", f"{path}:{node.lineno}: use logging, or return it"
            assert not name.startswith("random."), f"{path}:{node.lineno}: pass a numpy.random.Generator"
            assert name not in ("torch.load", "pickle.load", "pickle.loads"), (
                f"{path}:{node.lineno}: safetensors + JSON"
            )


LIGHT = """
import sys
{0}
print([m for m in ("torch", "numba", "pandas", "datasets", "matplotlib", "h5py") if m in sys.modules])
"""
HELP = """
from click.testing import CliRunner
from offmarl_bench.cli import main
assert CliRunner().invoke(main, ["--help"]).exit_code == 0
assert CliRunner().invoke(main, ["evaluate", "--help"]).exit_code == 0
"""


@pytest.mark.parametrize("statement", ["import offmarl_bench", HELP], ids=["import", "help"])
def test_importing_and_asking_for_help_are_cheap(statement: str) -> None:
    done = subprocess.run([sys.executable, "-c", LIGHT.format(statement)], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_every_lazy_name_is_there_and_types_agree() -> None:
    for name in offmarl_bench._HOME:
        assert getattr(offmarl_bench, name) is not None
        assert name in dir(offmarl_bench)
    tree = ast.parse((ROOT / "offmarl_bench/__init__.py").read_text())
    typed = {name.rpartition(".")[2]: name for _, name, _, typing in imports(tree) if typing}
    for name in set(typed) - {"TYPE_CHECKING", "Any"}:
        assert typed[name] == f"offmarl_bench.{offmarl_bench._HOME[name]}.{name}"
    modules = {p.stem for p in (ROOT / "offmarl_bench").iterdir()}
    assert not set(offmarl_bench._HOME) & modules, "importing a module would hide the lazy name that it is called by"
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        _ = offmarl_bench.nothing
    assert offmarl_bench.__version__


def setup_cfg() -> ConfigParser:
    parser = ConfigParser()
    parser.read(ROOT / "setup.cfg")
    return parser


def test_every_entry_point_exists() -> None:
    points = setup_cfg()["options.entry_points"]
    listed = [line.strip() for group in points.values() for line in group.splitlines() if line.strip()]
    assert len(listed) >= 6
    for line in listed:
        module, _, attribute = line.partition("=")[2].strip().partition(":")
        assert hasattr(importlib.import_module(module), attribute), line


def test_every_data_file_of_a_package_is_packaged() -> None:
    patterns = [p.strip() for p in setup_cfg()["options.package_data"]["*"].split(",")]
    assert all(p.startswith("**/") or p == "py.typed" for p in patterns)
    tracked = subprocess.run(
        ["git", "ls-files", "--cached", *PACKAGES], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    here = tracked or [str(p.relative_to(ROOT)) for k in PACKAGES for p in (ROOT / k).rglob("*.*")]
    loose = [
        name for name in here
        if not name.endswith((".py", ".pyc", ".nbi", ".nbc", ".md"))
        and not any(fnmatch.fnmatch(Path(name).name, p.removeprefix("**/")) for p in patterns)
    ]  # fmt: skip
    assert loose == []
    for package in PACKAGES:
        assert (ROOT / package / "py.typed").exists()


def test_what_is_needed_is_pinned_and_the_files_are_readable() -> None:
    pinned = {
        line.partition("==")[0].lower().replace("_", "-")
        for line in (ROOT / "constraints.txt").read_text().splitlines()
        if line and not line.startswith("#")
    }
    config = setup_cfg()
    wanted = config["options"]["install_requires"].split() + config["options.extras_require"]["dev"].split()
    names = {w.partition(">")[0].lower().replace("_", "-") for w in wanted}
    assert names <= pinned, f"add to constraints.txt: {sorted(names - pinned)}"
    assert "torch==2.13.0" in (ROOT / "constraints.txt").read_text().split()
    tomllib.loads((ROOT / "pyproject.toml").read_text())
    for path in sorted(p for k in PACKAGES for p in (ROOT / k).rglob("*.json")):
        json.loads(path.read_text(encoding="utf-8"))
    assert len((ROOT / "CONTRIBUTING.md").read_text().splitlines()) <= 60
