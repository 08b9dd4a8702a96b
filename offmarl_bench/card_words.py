"""What is true of every dataset card, or of every dataset of one simulator; the numbers come from the files."""

from __future__ import annotations

PAPER = "arXiv:2211.15612"

PAPER_DATA = (
    f"the data behind {PAPER}, Tables 7–9, made by its authors' own policies, on SMAC maps in the real StarCraft II; "
    "for orientation, not for comparison"
)

PROVENANCE = {
    "verbatim": "as the paper prints it",
    "reconstructed": "reconstructed: the paper's print is damaged or silent here, the rest of it decides",
    "calibrated": "calibrated: chosen to meet the paper's mean return",
    "ours": "ours: not in the paper",
}
"""What the provenance of a recipe means."""

LEVEL_WORDS = (
    "A level is how well the policy plays that was drawn for the agent (random: networks of no or little training, not "
    "uniform noise). It is stored in `behavior_level` for analysis and is never an input to learning."
)

SACO = (
    "Joint SACo is the number of distinct (state, joint action) pairs over the number of steps, as OG-MARL computes it "
    "(`vault_utils/analyse_vault.py`); an agent's own is the same for its (observation, action) pairs. Nothing is "
    "rounded. A dead agent's steps are one pair, which lowers its number. An episode is unique if no other has the "
    "same states, actions and rewards."
)

SIMULATORS = {
    "embedded": (
        "**Our own simulator, not StarCraft II.** Its interface equals SMAC's in every entry of recorded outputs; how "
        "near its fights come to the real game is measured in `docs/fidelity.md`. Do not compare scores with those "
        "on the real game.",
    ),
    "particles": (
        "Our own batched implementation of the particle environments; tests compare it with `mpe2`, the maintained "
        "package.",
    ),
}
"""By the backend's name before its version."""

LIMITS = (
    "Few policies played: their habits are in the data, and exploration is their ε only.",
    "One master seed. Another one gives other episodes of the same composition (`--seed`), under an id of your own.",
    "One team reward; nobody's own is stored, because the environment gives none.",
    "The levels follow mean returns of whole teams; how good an agent is beside worse team mates can differ.",
)

LICENCE = (
    "MIT, as offmarl-bench itself: data, policies and simulator are made by it. If you use the data, please cite the "
    "software and the paper whose design it follows:"
)

LICENCE_ELSEWHERE = (
    "Recorded in a simulator that is not ours: its makers' licence and that of the policies decide. The file "
    "format and this card are MIT, as offmarl-bench is. If you use the data with it, please cite:"
)

CITATION = """@software{offmarl_bench,
  title = {offmarl-bench: offline multi-agent reinforcement learning with imbalanced data},
  author = {{The offmarl-bench developers}},
}
@inproceedings{tian2023learning,
  title = {Learning from Good Trajectories in Offline Multi-Agent Reinforcement Learning},
  author = {Tian, Qi and Kuang, Kun and Liu, Furui and Wang, Baoxiang},
  booktitle = {Proceedings of the AAAI Conference on Artificial Intelligence},
  year = {2023},
  url = {https://arxiv.org/abs/2211.15612},
}"""


def limits_of(backend: str) -> tuple[str, ...]:
    """What is known of a simulator, e.g. ``embedded-1``; nothing of one that is not ours."""
    return SIMULATORS.get(backend.partition("-")[0], ())
