"""What the real game needs on this machine: found, or said in one line what to install and where.

Nothing of it is imported here: the packages are for the game's own processes, and one of them has a namesake.
"""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from offmarl_bench.errors import OffmarlError

SMAC_SOURCE = "git+https://github.com/oxwhirl/smac.git"
GAME_SOURCE = "https://github.com/Blizzard/s2client-proto#downloads"
MAPS_SOURCE = "https://github.com/oxwhirl/smac/releases"
PATH_VARIABLE = "SC2PATH"
"""Where pysc2 looks for the game."""
MAPS_FOLDER = Path("Maps", "SMAC_Maps")
DEFAULT_PLACES = {
    "linux": "~/StarCraftII",
    "darwin": "/Applications/StarCraft II",
    "win32": "C:/Program Files (x86)/StarCraft II",
}
"""pysc2's own defaults."""
NEEDED = (
    ("pysc2", "pip install --no-deps pysc2"),
    ("s2clientprotocol", "pip install s2clientprotocol 'protobuf<3.21'"),
)
READ_ON = "see docs/sc2.md"


def _folder(package: str) -> Path | None:
    """Where a package lies, without importing it; None if there is none."""
    try:
        spec = importlib.util.find_spec(package)
    except (ImportError, ValueError):
        return None
    if spec is None:
        return None
    places = list(spec.submodule_search_locations or [])
    return Path(places[0]) if places else Path(spec.origin or package)


def check_package() -> None:
    """Raises OffmarlError: no ``smac``, the namesake from PyPI, or one without the packages that it needs."""
    found = _folder("smac")
    if found is None:
        raise OffmarlError(
            f"smac-sc2: the package smac is missing; install SMAC from its repository with `pip install --no-deps "
            f"{SMAC_SOURCE}` (smac on PyPI is another program) and then `pip install 'offmarl-bench[sc2]'`; {READ_ON}"
        )
    if not (found / "env" / "__init__.py").exists():
        raise OffmarlError(
            f"smac-sc2: the package smac in {found} is not the StarCraft Multi-Agent Challenge (on PyPI that name is a "
            f"tool for tuning hyper-parameters); `pip uninstall smac`, then `pip install --no-deps {SMAC_SOURCE}`; "
            f"{READ_ON}"
        )
    if not (found / "env" / "starcraft2").exists():
        return  # somebody's own module with the same interface: what it needs is for it to say
    for package, command in NEEDED:
        if _folder(package) is None:
            raise OffmarlError(f"smac-sc2: the package {package} is missing, which smac needs; `{command}`; {READ_ON}")


def game_folder() -> Path:
    """Where StarCraft II should be: ``$SC2PATH``, else pysc2's default for this platform."""
    return Path(os.environ.get(PATH_VARIABLE) or DEFAULT_PLACES.get(sys.platform, DEFAULT_PLACES["linux"])).expanduser()


def check_game(map_name: str | None = None) -> None:
    """Raises OffmarlError: no game where pysc2 would look for it, or without the map."""
    folder = game_folder()
    if not (folder / "Versions").is_dir():
        raise OffmarlError(
            f"smac-sc2: no StarCraft II in {folder}; download it from {GAME_SOURCE} (SMAC's results are from 4.10), "
            f"unpack it there or set {PATH_VARIABLE} to its folder; {READ_ON}"
        )
    if map_name is not None and not (folder / MAPS_FOLDER / f"{map_name}.SC2Map").is_file():
        raise OffmarlError(
            f"smac-sc2/{map_name}: no {map_name}.SC2Map in {folder / MAPS_FOLDER}; unpack SMAC_Maps.zip from "
            f"{MAPS_SOURCE} into {folder / 'Maps'}; {READ_ON}"
        )


def installed_versions() -> str:
    """The newest game here (which pysc2 takes) and the version of ``smac``, e.g. ``75689-smac1.0.0``."""
    check_package()
    check_game()
    builds = [int(m[1]) for p in (game_folder() / "Versions").iterdir() if (m := re.fullmatch(r"Base(\d+)", p.name))]
    try:
        package = version("smac")
    except PackageNotFoundError:
        package = "-unknown"
    return f"{max(builds, default=0)}-smac{package}"
