"""The command line ``offmarl-bench``. Importing it is cheap: a command imports what it needs when it runs."""

from __future__ import annotations

from offmarl_bench.cli.main import main as main
