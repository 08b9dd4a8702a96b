"""Every number that SIT uses. Defaults are the corrected settings; ``presets.toml`` has the paper's literal ones.

Sections and symbols are those of the paper; "Table 10" and "Table 11" are its hyper-parameter sheets. A default that
is not the paper's says so in its line.
"""

from __future__ import annotations

from dataclasses import dataclass

from offmarl_bench.errors import FormatError

AUTO = "auto"
"""The value of ``alpha`` that asks for a temperature found from ``effective_share``."""

DECOMPOSERS = ("attention", "monotonic")
SAMPLERS = ("sum-tree", "cumulative")
SCORES = ("return", "advantage", "q")
UNCERTAINTY_WEIGHTS = ("clipped", "literal", "none")
POLICIES = ("gaussian", "deterministic")
OBJECTIVES = ("likelihood", "value")

STAGE_ONE = (
    "attention",
    "decomposer",
    "members",
    "reward_hidden",
    "attention_hidden",
    "mixing_hidden",
    "decompose_lr",
    "decompose_episodes",
    "decompose_transitions",
    "standardise_reward",
    "mask_dead",
    "clip_norm",
    "rms_decay",
    "rms_eps",
)
"""What stage I reads: runs that agree in these (and in data, seed and length) have it in common."""

POSITIVE_INTEGERS = (
    "members",
    "reward_hidden",
    "attention_hidden",
    "mixing_hidden",
    "decompose_steps",
    "decompose_episodes",
    "share_episodes",
    "critic_hidden",
    "actor_hidden",
    "action_samples",
    "learn_steps",
    "learn_trajectories",
    "target_interval",
)
POSITIVE = (
    "decompose_lr",
    "clip_norm",
    "rms_eps",
    "priority_range",
    "effective_share",
    "critic_lr",
    "actor_lr",
    "beta",
    "eta",
    "uncertainty_floor",
    "uncertainty_low",
    "uncertainty_high",
)
FRACTIONS = ("rms_decay", "gamma", "effective_share", "td_lambda", "trust_at_cut")
NON_NEGATIVE_INTEGERS = ("decompose_transitions", "critic_warmup")


@dataclass(frozen=True, slots=True, kw_only=True)
class SITConfig:
    """Settings of SIT, grouped by stage.

    Raises:
        FormatError: a value outside its range, named with the range.
    """

    # The four switches of the paper's ablation (Figure 4a) and of Figure 4b.
    decomposition: bool = True
    """False: "w/o decomp", every living agent is credited with the whole team reward and stage I is left out."""
    attention: bool = True
    """False: "w/o attention", λ = 1 for every agent (Eq. 1 left out)."""
    gat: bool = True
    """False: "w/o GAT", the critic sees its own agent only (Eq. 8 left out)."""
    priority: bool = True
    """False: trajectories are drawn uniformly instead of by Eq. (7)."""

    # What Appendix E.1 and the controls (``sit/controls.py``) switch.
    decomposer: str = "attention"
    """"attention" (Eq. 1, 2), or "monotonic": QMIX's hypernetworks mix the individual rewards (Appendix E.1)."""
    filter: bool = True
    """False: stage III only imitates what stage II draws; nothing is asked of the critic and it does not learn."""
    oracle: bool = False
    """True: priorities are the known behaviour levels of the data. An upper bound for any sampler, never a method."""

    # Stage I: attention-based reward decomposition network with ensemble mechanism (Table 10).
    members: int = 5
    """M, size of the ensemble; 1 is the ablation "w/o ensemble" (then no step is uncertain)."""
    reward_hidden: int = 64
    """Width of the reward network f."""
    attention_hidden: int = 64
    """Width of the embeddings e_s, e_i and of the query and the key."""
    mixing_hidden: int = 32
    """With "monotonic": width of the mixing network (QMIX's; the paper gives none)."""
    decompose_lr: float = 1e-4
    """Learning rate of stage I."""
    decompose_steps: int = 20_000
    """L_ARDNEM, gradient steps of stage I (the paper says "training epoch")."""
    decompose_episodes: int = 32
    """Episodes in a batch of stage I."""
    decompose_transitions: int = 800
    """Transitions kept of those episodes, drawn without replacement; 0 keeps all (paper). Chosen for speed."""
    standardise_reward: bool = True
    """Learn z-scored r_tot. The paper learns it raw, which starts inverted where rewards are negative."""
    mask_dead: bool = True
    """Agents whose only legal action is one (dead) get λ = 0 and no loss, and their trajectory ends; paper: silent."""

    # Both stages that learn.
    clip_norm: float = 10.0
    """Gradient clipping: greatest norm of each network's gradient."""
    rms_decay: float = 0.99
    """Smoothing constant of RMSprop (PyMARL's; the paper gives none)."""
    rms_eps: float = 1e-5
    """ε of RMSprop (PyMARL's; the paper gives none)."""

    # Stage II: decomposed prioritised experience replay.
    gamma: float = 0.99
    """γ, discount of Eq. (6) and Eq. (9)."""
    priority_range: float = 20.0
    """Priorities of each type's buffer are scaled linearly to [0, this] (Table 11)."""
    alpha: float | str = AUTO
    """α of Eq. (7), or "auto": found by bisection so that ``effective_share`` is met. The paper's 0.2 leaves ~2."""
    effective_share: float = 0.05
    """With alpha "auto": wanted effective sample size as a share of a buffer's trajectories."""
    sampler: str = "sum-tree"
    """"sum-tree" (paper) or "cumulative" (binary search in cumulative sums): the same distribution."""
    share_episodes: int = 64
    """Episodes per chunk of stage II; changes speed and memory only."""

    # Stage III: conservative policy learning (Table 11).
    learn_steps: int = 15_000
    """L_AC, gradient steps of stage III."""
    learn_trajectories: int = 32
    """Individual trajectories per agent type in a batch of stage III."""
    critic_hidden: int = 32
    """Width of f_local, of the GAT embedding W_1 o and of f_agg."""
    actor_hidden: int = 64
    """Width of the actor's recurrent layer."""
    critic_lr: float = 1e-4
    """Learning rate of the critics φ."""
    actor_lr: float = 5e-4
    """Learning rate of the actors θ."""
    target_interval: int = 100
    """d, updates between hard copies of the critics to their targets."""
    beta: float = 1.0
    """β of Eq. (10), conservatism. The paper: 0.1 on raw Q."""
    score: str = "return"
    """In the exponent of Eq. (10): "return": G^λ − V, "advantage": Q − E_π Q (both standardised), "q": Q (paper).

    Raw Q chooses states, not actions. E_π Q needs Q of actions that the data may never have tried."""
    scale_return: bool = True
    """Measure rewards in standard deviations of their type's ĝ, so that one learning rate fits all; paper: raw."""
    td_lambda: float = 0.8
    """λ of the critic's λ-return; 0 is the one-step target of Eq. (9)."""
    trust_at_cut: float = 0.8
    """Where the horizon cut an episode: share of the last observation's own value in what is bootstrapped, the rest
    is the mean of those that are learnt (``ops.damped_at_cut``). At 1 values grow without end, at 0 the filter does
    not see where an episode stopped (docs/horizon.md)."""
    policy: str = "gaussian"
    """Continuous actions only. "gaussian": tanh of a normal; "deterministic": −½ |a − π(τ)|² stands for log π."""
    objective: str = "likelihood"
    """What Eq. (10) weighs: "likelihood", log π of the data's action (CRR), or "value", Q of π's own action.

    "value" is the printed equation with a gradient in θ; it needs Q, so another score than "return"."""
    action_samples: int = 4
    """Continuous actions, Gaussian policy: draws of which E_π Q is the mean (CRR's number; the paper gives none)."""
    critic_warmup: int = 500
    """First updates of stage III in which the actor imitates its samples with equal weights; paper: 0."""
    uncertainty: str = "none"
    """"none": every step counts alike; "clipped": clip(median û / û), mean one over the batch; "literal": η/û (paper).

    Where the members agree is where little happens: with 1/û the actor learns that first (docs/sit.md)."""
    eta: float = 1.0
    """η of Eq. (9) and Eq. (10), used by "literal"; a constant factor, so nearly idle under RMSprop."""
    uncertainty_floor: float = 1e-6
    """Added to û before dividing, so that unanimous members do not divide by zero."""
    uncertainty_low: float = 0.1
    """Least weight of "clipped"."""
    uncertainty_high: float = 10.0
    """Greatest weight of "clipped"."""

    def __post_init__(self) -> None:
        for name in POSITIVE_INTEGERS:
            self._require(name, "a positive integer", _integer(getattr(self, name)) and getattr(self, name) > 0)
        for name in NON_NEGATIVE_INTEGERS:
            self._require(name, "an integer of at least 0", _integer(getattr(self, name)) and getattr(self, name) >= 0)
        for name in POSITIVE:
            self._require(name, "a positive number", _number(getattr(self, name)) and getattr(self, name) > 0)
        for name in FRACTIONS:
            self._require(name, "between 0 and 1", _number(getattr(self, name)) and 0 <= getattr(self, name) <= 1)
        for name in ("decomposition", "attention", "gat", "priority", "standardise_reward", "mask_dead",
                     "scale_return", "filter", "oracle"):  # fmt: skip
            self._require(name, "true or false", isinstance(getattr(self, name), bool))
        positive_alpha = _number(self.alpha) and float(self.alpha) > 0
        self._require("alpha", f"a positive number or {AUTO!r}", self.alpha == AUTO or positive_alpha)
        self._require("decomposer", f"one of {', '.join(DECOMPOSERS)}", self.decomposer in DECOMPOSERS)
        self._require("score", f"one of {', '.join(SCORES)}", self.score in SCORES)
        self._require("policy", f"one of {', '.join(POLICIES)}", self.policy in POLICIES)
        self._require("objective", f"one of {', '.join(OBJECTIVES)}", self.objective in OBJECTIVES)
        if self.objective == "value":
            self._require("score", "'advantage' or 'q' with objective='value'", self.score != "return")
        self._require("sampler", f"one of {', '.join(SAMPLERS)}", self.sampler in SAMPLERS)
        self._require(
            "uncertainty", f"one of {', '.join(UNCERTAINTY_WEIGHTS)}", self.uncertainty in UNCERTAINTY_WEIGHTS
        )
        self._require("uncertainty_low", "at most uncertainty_high", self.uncertainty_low <= self.uncertainty_high)

    def _require(self, name: str, expected: str, holds: bool) -> None:
        if not holds:
            raise FormatError(f"SITConfig: {name} is {getattr(self, name)!r}, expected {expected}")


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
