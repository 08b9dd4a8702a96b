"""Settings of MABCQ: one dataclass for its discrete (``mabcq``) and its continuous form (``mabcq_continuous``)."""

from __future__ import annotations

from dataclasses import dataclass

from offmarl_bench.agent import check_settings
from offmarl_bench.errors import FormatError
from offmarl_bench.nn import HIDDEN
from offmarl_bench.ops import TRUST_AT_CUT


@dataclass(frozen=True, slots=True, kw_only=True)
class MABCQConfig:
    """Settings of MABCQ; the defaults are Table 11's where it has one."""

    zeta: float = 0.3
    """Discrete form: ζ; an action is known if its μ is more than this share of the likeliest one's; 0: all are."""
    double_q: bool = True
    """Discrete form: the online network chooses the maximum that the target network values. Continuous form: two
    critics, joined by ``soft_clip``."""
    soft_clip: float = 0.75
    """Continuous form: share of the smaller of two critics in the target, the rest is the larger's (BCQ's λ)."""
    perturbation: float = 0.05
    """Continuous form: Φ, how far ξ may move a component of a generated action."""
    candidates: int = 10
    """Continuous form: m, actions generated for the maximum over ã."""
    play_candidates: int = 100
    """Continuous form: actions generated for play."""
    latent_ratio: int = 2
    """Continuous form: components of the generator's latent z for one of the action."""
    latent_clip: float = 0.5
    """Continuous form: z is drawn from a normal distribution and clipped to ± this."""
    kl_weight: float = 0.5
    """Continuous form: weight of the divergence of z from a normal distribution in the generator's loss."""
    play_noise: float = 0.1
    """Continuous form: standard deviation of the noise that ``policy(greedy=False)`` adds to actions."""
    hidden: int = HIDDEN
    """Width of the values' and of the behaviour policy's network ("RNN hidden dimension")."""
    mixer_embed: int = 32
    """Width of the mixer ("Mixer/Critic hidden dimension")."""
    lr: float = 5e-4
    """Learning rate of the values and of the behaviour policy."""
    rms_alpha: float = 0.99
    """RMSprop's smoothing of squared gradients (PyMARL)."""
    rms_eps: float = 1e-5
    """RMSprop's ε (PyMARL)."""
    clip: float = 10.0
    """Greatest norm of the gradient."""
    gamma: float = 0.99
    """Discount γ."""
    trust_at_cut: float = TRUST_AT_CUT
    """Where the horizon cut an episode: share of the last observation's own value in what is bootstrapped, the rest
    is the mean of those that are learnt (``ops.damped_at_cut``)."""
    target_interval: int = 100
    """Updates between two copies of the networks into their targets."""
    batch_size: int = 32
    """Episodes a batch."""
    behaviour_steps: int = 15_000
    """Gradient steps of the behaviour policy."""
    steps: int = 15_000
    """Gradient steps of the values ("training epoch")."""
    play_epsilon: float = 0.05
    """Discrete form: ε of ``policy(greedy=False)``; values are not logits, so the stochastic play is ε-greedy."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``; SMAC's is 20); 0: never."""

    def __post_init__(self) -> None:
        counts = ("hidden", "mixer_embed", "target_interval", "batch_size", "behaviour_steps", "steps", "candidates")
        positive = ("lr", "rms_alpha", "rms_eps", "clip")
        check_settings(
            "MABCQ",
            self,
            counts=(*counts, "play_candidates", "latent_ratio"),
            positive=(*positive, "latent_clip"),
            shares=("trust_at_cut", "zeta", "gamma", "play_epsilon", "soft_clip"),
            natural=("largest_return", "perturbation", "kl_weight", "play_noise"),
        )
        if self.zeta == 1.0:
            raise FormatError("MABCQ: zeta is 1, so that no action would be known; expected a number below 1")
