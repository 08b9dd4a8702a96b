"""Settings of ICQ: one dataclass for its discrete (``icq``) and its continuous form (``icq_continuous``)."""

from __future__ import annotations

from dataclasses import dataclass

from offmarl_bench.agent import check_settings
from offmarl_bench.errors import FormatError
from offmarl_bench.nn import HIDDEN
from offmarl_bench.ops import TRUST_AT_CUT

CRITIC_MODES = ("batch", "sequential")


@dataclass(frozen=True, slots=True, kw_only=True)
class ICQConfig:
    """Settings of ICQ; the defaults are Table 11's where it has one, else the official code's."""

    beta: float = 0.1
    """β_ICQ of the actor's weights."""
    critic_beta: float = 1000.0
    """β_ICQ of the critic's weights."""
    td_lambda: float = 0.8
    """λ_ICQ of the critic's target."""
    advantage: bool = True
    """Weigh the actor by Q − E_π Q; False: by Q, as printed."""
    weigh_inside: bool = True
    """w_i inside the exponent, as printed; False: as a factor before it (official)."""
    value_samples: int = 4
    """Continuous form: actions of the policy over which E_π Q is averaged (CRR)."""
    floor: float = 0.0
    """Discrete form: share of uniform play over legal actions mixed into the policy, in learning and sampled play."""
    critic_mode: str = "batch"
    """"batch": one critic step for all time steps together; "sequential": one for each in turn (official)."""
    normalise_mixer: bool = True
    """Divide the mixer's weights by their sum (official). Without it they grow until one sample takes a whole batch."""
    mixer_bias: bool = True
    """Have b(s); the official code computes and drops it."""
    hidden: int = HIDDEN
    """Width of the actor's network ("RNN hidden dimension")."""
    critic_hidden: int = 128
    """Width of the critic's two layers. Table 11: 32; official: 256."""
    mixer_embed: int = 32
    """Width of the mixer ("Mixer/Critic hidden dimension")."""
    actor_lr: float = 5e-4
    """Learning rate of the actor."""
    critic_lr: float = 1e-4
    """Learning rate of the critic and the mixer."""
    rms_alpha: float = 0.99
    """RMSprop's smoothing of squared gradients (official)."""
    rms_eps: float = 1e-5
    """RMSprop's ε (official)."""
    clip: float = 10.0
    """Greatest norm of the gradient."""
    gamma: float = 0.99
    """Discount γ."""
    trust_at_cut: float = TRUST_AT_CUT
    """Where the horizon cut an episode: share of the last observation's own value in what is bootstrapped, the rest
    is the mean of those that are learnt (``ops.damped_at_cut``)."""
    target_interval: int = 100
    """Critic steps between two copies of critic and mixer into their targets."""
    batch_size: int = 32
    """Episodes a batch."""
    steps: int = 15_000
    """Batches ("training epoch")."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``; SMAC's is 20); 0: never."""

    def __post_init__(self) -> None:
        counts = ("hidden", "critic_hidden", "mixer_embed", "target_interval", "batch_size", "steps", "value_samples")
        positive = ("beta", "critic_beta", "actor_lr", "critic_lr", "rms_alpha", "rms_eps", "clip")
        check_settings(
            "ICQ",
            self,
            counts=counts,
            positive=positive,
            shares=("trust_at_cut", "td_lambda", "floor", "gamma"),
            natural=("largest_return",),
        )
        if self.critic_mode not in CRITIC_MODES:
            raise FormatError(f"ICQ: critic_mode is {self.critic_mode!r}, expected one of {', '.join(CRITIC_MODES)}")
