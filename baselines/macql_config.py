"""Settings of MACQL: one dataclass for its discrete (``macql``) and its continuous form (``macql_continuous``)."""

from __future__ import annotations

from dataclasses import dataclass

from offmarl_bench.agent import check_settings
from offmarl_bench.nn import HIDDEN
from offmarl_bench.ops import TRUST_AT_CUT


@dataclass(frozen=True, slots=True, kw_only=True)
class MACQLConfig:
    """Settings of MACQL; the defaults are Table 11's where it has one."""

    beta_cql: float = 2.0
    """β_CQL: how strongly values outside the data are pushed down."""
    bias_in_gap: bool = False
    """Count b(s) in the conservative term as Eq. (13) prints it."""
    backup_lambda: float = 0.8
    """Discrete form: λ of the tree backup; 0 is the one-step target."""
    double_q: bool = True
    """Discrete form: the online network chooses the greedy action that the target network values."""
    samples: int = 10
    """Continuous form: actions in the log-sum drawn uniformly, and as many drawn from the policy (CQL)."""
    actor_lr: float = 5e-4
    """Continuous form: learning rate of the policy."""
    warm_up: int = 500
    """Continuous form: updates in which the policy imitates the data, while the values are learnt (CQL's code)."""
    temperature: float = 0.1
    """Continuous form: α at the start, the weight of the policy's entropy."""
    temperature_lr: float = 5e-4
    """Continuous form: learning rate of log α; 0 keeps α as it is."""
    entropy: float = -1.0
    """Continuous form: entropy of the policy per component of the action at which α settles (soft actor-critic)."""
    hidden: int = HIDDEN
    """Width of the agents' network ("RNN hidden dimension")."""
    mixer_embed: int = 32
    """Width of the mixer ("Mixer/Critic hidden dimension")."""
    lr: float = 5e-4
    """Learning rate."""
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
    steps: int = 15_000
    """Gradient steps ("training epoch")."""
    play_epsilon: float = 0.05
    """Discrete form: ε of ``policy(greedy=False)``; values are not logits, so the stochastic play is ε-greedy."""
    largest_return: float = 20.0
    """Rewards are scaled down to this largest return of the data (``agent.reward_scale``; SMAC's is 20); 0: never."""

    def __post_init__(self) -> None:
        counts = ("hidden", "mixer_embed", "target_interval", "batch_size", "steps", "samples")
        shares = ("trust_at_cut", "gamma", "backup_lambda", "play_epsilon")
        check_settings(
            "MACQL",
            self,
            counts=counts,
            positive=("lr", "actor_lr", "temperature", "rms_alpha", "rms_eps", "clip"),
            shares=shares,
            natural=("largest_return", "beta_cql", "temperature_lr", "warm_up"),
        )
