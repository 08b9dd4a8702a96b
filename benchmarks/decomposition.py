"""What ``offmarl-bench reproduce decomposition`` prints, for commands that were written down before it was there.

python benchmarks/decomposition.py smac/2s3z/low smac/2s3z/medium
"""

from __future__ import annotations

import sys

from sit.decomposition import decompositions

if __name__ == "__main__":
    for name in sys.argv[1:] or ["smac/2s3z/low"]:
        print(decompositions(name).to_markdown())
