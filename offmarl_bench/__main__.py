"""``python -m offmarl_bench``: the same as the command ``offmarl-bench``."""

from __future__ import annotations

from offmarl_bench.cli import main

if __name__ == "__main__":
    main(prog_name="offmarl-bench")
