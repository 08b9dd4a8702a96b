"""Makes ``tests/golden/v1.h5``. Ran once: the file must stay readable by every later release, so never run it again.

python -m tests.make_golden
"""

from __future__ import annotations

from pathlib import Path

from offmarl_bench.generate import generate
from tests.toy_pool import toy_pool

GOLDEN = Path(__file__).parent / "golden" / "v1.h5"
EPISODES = 12

if __name__ == "__main__":
    generate("toy/signals", quality="low", episodes=EPISODES, pool=toy_pool(), out=GOLDEN, progress=False)
