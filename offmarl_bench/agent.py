"""What an agent is: networks built from a spec and a frozen config, phases that train it, a policy that plays.

The one trainer runs the phases; an agent never loops, logs, saves or counts by itself. A stranger's agent is a
class like ours, registered as an entry point of ``offmarl_bench.agents`` or spelled ``module:attr``.
"""

from __future__ import annotations

import math
import tomllib
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from importlib import resources
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch
from jaxtyping import Bool, Float32, Shaped
from torch import Tensor, nn

from offmarl_bench import registry
from offmarl_bench.errors import ConformanceError, FormatError, OffmarlError
from offmarl_bench.seeding import sequence
from offmarl_bench.types import Batch, EnvSpec

if TYPE_CHECKING:
    from offmarl_bench.loader import Dataset

Metrics = Mapping[str, Tensor | float]


def nothing() -> None:
    """The default ``start`` of a phase."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Common:
    """What a first phase reads and changes, so that runs which differ elsewhere train it once (``stages``)."""

    name: str
    """Of what is computed: the same for all agents that compute it, so that they share too."""
    settings: Mapping[str, Any]
    """Everything of the agent that decides what the phase leaves behind, as JSON values. Seed, dataset, environment
    and number of updates are added by the trainer."""
    parts: tuple[str, ...]
    """Submodules and buffers that it changes; it reads no others."""
    optimizers: tuple[str, ...]
    """Names of the optimizers that it steps."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """One stretch of training: ``steps`` times ``update(batches(generator))``."""

    name: str
    steps: int
    """Number of updates."""
    batches: Callable[[np.random.Generator], Batch]
    """Draws one batch. All its randomness comes from the generator, so that a resumed run draws the same."""
    update: Callable[[Batch], Metrics]
    """One gradient step. Returns scalars to log, as detached tensors: no ``.item()`` inside."""
    start: Callable[[], None] = nothing
    """Called once before the first update, and again when a run resumes inside this phase: derive here what is
    not stored in the checkpoint (SIT: the prioritised replay from stage I's network)."""
    scalable: bool = True
    """False for a phase whose number of steps is given by the data, not by the budget (SIT's ``share``)."""
    common: Common | None = None
    """Of a first phase that other runs can take over; None: every run trains its own."""


def reward_scale(dataset: Dataset, largest_return: float) -> float:
    """What to multiply rewards with so that no return of the data is larger than this in magnitude; never above 1.

    The published settings of value-based agents (β of ICQ, weights of CQL, learning rates) were tuned on SMAC, whose
    returns reach 20; returns of some hundreds make another algorithm of them.

    Args:
        dataset: whose returns count.
        largest_return: 0 leaves rewards as they are.
    """
    found = float(np.abs(dataset.returns).max(initial=0.0))
    return 1.0 if not largest_return or found <= largest_return else largest_return / found


def sampling_phase(
    name: str,
    steps: int,
    dataset: Dataset,
    size: int,
    update: Callable[[Batch], Metrics],
    device: torch.device,
    largest_return: float = 0.0,
) -> Phase:
    """A phase whose batches are ``size`` whole episodes, drawn uniformly with replacement.

    With ``largest_return`` their rewards are scaled, see ``reward_scale``.
    """
    scale = reward_scale(dataset, largest_return)

    def draw(generator: np.random.Generator) -> Batch:
        batch = dataset.sample(size, generator=generator, device=device)
        return batch if scale == 1 else replace(batch, rewards=scale * batch.rewards)

    return Phase(name=name, steps=steps, batches=draw, update=update)


class Policy(ABC):
    """Decentralised play: sees observations and legal actions, never the state. Recurrent memory is inside."""

    @abstractmethod
    def reset(self, n: int) -> None:
        """Forget everything and get ready for ``n`` lanes."""

    @abstractmethod
    def decide(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> tuple[Shaped[np.ndarray, "B N *A"], Float32[np.ndarray, "B N"]]:
        """Actions and the log-probability (density) with which the policy chose each of them; advances memory."""

    @abstractmethod
    def keep(self, lanes: Shaped[np.ndarray, " K"]) -> None:
        """Go on with these lanes only (indices into the present ones): finished episodes cost nothing."""

    def act(
        self,
        obs: Float32[np.ndarray, "B N O"],
        legal: Bool[np.ndarray, "B N A"] | None,
        generator: np.random.Generator,
    ) -> Shaped[np.ndarray, "B N *A"]:
        """``decide`` without the log-probabilities: (B, N) int32, or (B, N, A) float32."""
        return self.decide(obs, legal, generator)[0]


class Agent(nn.Module, ABC):
    """Base of all agents. Target networks are submodules and optimizers sit in ``optimizers``: a checkpoint has all.

    Subclasses set ``Config`` (a frozen dataclass whose defaults are the default preset) and may ship a
    ``presets.toml`` beside their module with only the differences: ``[NAME.PRESET]`` and
    ``[NAME.PRESET."suite/map"]``.
    """

    Config: ClassVar[type[Any]]
    optimizers: dict[str, torch.optim.Optimizer]
    name: str
    """The registered name it was made under; ``make_agent`` sets it."""
    preset: str
    policy_parts: ClassVar[tuple[str, ...] | None] = None
    """Names of the submodules and buffers that ``policy()`` reads: all that has to be shared for others to play it.
    None: the whole ``state_dict``."""

    def __init__(self, spec: EnvSpec, config: Any) -> None:
        super().__init__()
        if not isinstance(config, self.Config):
            raise OffmarlError(f"{type(self).__name__} takes a {self.Config.__name__}, got {type(config).__name__}")
        self.spec = spec
        self.config = config
        self.optimizers = {}
        self.name = type(self).__name__.lower()
        self.preset = "default"

    @classmethod
    def form(cls, spec: EnvSpec) -> type[Agent]:
        """The class that plays this kind of environment: itself, unless overridden.

        An agent that is another program for continuous actions keeps one name and one ``Config`` (fields that only one
        form reads say so) and answers here with the class of that form; ``make_agent`` asks.
        """
        return cls

    @abstractmethod
    def phases(self, dataset: Dataset) -> list[Phase]:
        """The phases of training on this dataset, in order, at full length. Raises SpecMismatch."""

    @abstractmethod
    def policy(self, greedy: bool = True) -> Policy:
        """A policy that plays with the present weights; ``greedy=False`` samples."""

    def policy_state(self) -> dict[str, Tensor]:
        """The part of ``state_dict`` that ``policy_parts`` names.

        Raises:
            ConformanceError: a part that the agent does not have.
        """
        if self.policy_parts is None:
            state: dict[str, Tensor] = self.state_dict()
            return state
        return self.state_of(self.policy_parts, "policy_parts")

    def state_of(self, parts: Sequence[str], where: str) -> dict[str, Tensor]:
        """The part of ``state_dict`` that lies in these submodules and buffers.

        Args:
            parts: names of attributes.
            where: what named them, for the error.

        Raises:
            ConformanceError: a part that the agent does not have.
        """
        state: dict[str, Tensor] = self.state_dict()
        found: dict[str, Tensor] = {}
        for part in parts:
            own = {k: v for k, v in state.items() if k == part or k.startswith(f"{part}.")}
            if not own:
                raise ConformanceError(
                    f"agent {self.name!r}: {where} names {part!r}, but nothing in its state_dict is called so; "
                    "name attributes that are modules or buffers"
                )
            found |= own
        return found

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device


def check_settings(
    who: str,
    config: Any,
    *,
    counts: Sequence[str] = (),
    positive: Sequence[str] = (),
    shares: Sequence[str] = (),
    natural: Sequence[str] = (),
) -> None:
    """Validate a config: ``counts`` are at least 1, ``positive`` above 0, ``shares`` from 0 to 1, ``natural`` from 0.

    Raises:
        FormatError: the first field that is not.
    """
    for names, low, high, expected in (
        (counts, 1, math.inf, "at least 1"),
        (shares, 0, 1, "a number from 0 to 1"),
        (positive, math.ulp(0.0), math.inf, "a number above 0"),
        (natural, 0, math.inf, "a number from 0"),
    ):
        for name in names:
            if not low <= getattr(config, name) <= high:
                raise FormatError(f"{who}: {name} is {getattr(config, name)!r}, expected {expected}")


def presets(name: str) -> dict[str, dict[str, Any]]:
    """Preset tables of an agent from the ``presets.toml`` beside its module (empty if there is none)."""
    package = registry.resolve("agents", name).__module__.rpartition(".")[0]
    if not package:
        return {}
    try:
        text = resources.files(package).joinpath("presets.toml").read_text(encoding="utf-8")
    except (FileNotFoundError, ModuleNotFoundError):
        return {}
    found: dict[str, dict[str, Any]] = tomllib.loads(text).get(name, {})
    return found


def make_config(name: str, env_id: str, preset: str = "default", overrides: Mapping[str, Any] | None = None) -> Any:
    """The resolved config of an agent: class defaults, then the preset, then its part for ``env_id``, then overrides.

    Raises:
        UnknownName: no such agent, preset or config field.
        FormatError: a value the config refuses.
    """
    cls: type[Agent] = registry.resolve("agents", name)
    config_cls: type[Any] | None = getattr(cls, "Config", None)
    if config_cls is None or not is_dataclass(config_cls):
        raise OffmarlError(f"agent {name!r} ({cls!r}) has no dataclass Config; see offmarl_bench.agent.Agent")
    known = {f.name for f in fields(config_cls)}
    tables = presets(name)
    if preset != "default" and preset not in tables:
        raise registry.unknown(f"preset of agent {name}", preset, ["default", *tables])
    table = tables.get(preset, {})
    values = {k: v for k, v in table.items() if not isinstance(v, dict)} | table.get(env_id, {}) | dict(overrides or {})
    for key in values:
        if key not in known:
            raise registry.unknown(f"setting of agent {name}", key, sorted(known))
    try:
        return cls.Config(**values)
    except (TypeError, ValueError) as e:
        raise FormatError(f"agent {name!r}: bad configuration {values!r}: {e}") from e


def make_agent(
    name: str, spec: EnvSpec, *, preset: str = "default", seed: int = 0, device: str = "cpu", **overrides: Any
) -> Agent:
    """Build an agent with freshly initialised networks.

    Args:
        name: registered name or ``module:attr``.
        spec: the environment it is for (``dataset.spec`` or ``env.spec``).
        preset: ``default``, ``paper``, … (see the agent's ``presets.toml``).
        seed: decides the initial weights, independently of any global random state.
        device: torch device name.
        **overrides: config fields, e.g. ``beta=0.1``.

    Raises:
        UnknownName: no such agent, preset or setting. FormatError: a bad value. SpecMismatch: an agent that
        cannot play this environment.
    """
    config = make_config(name, spec.id, preset, overrides)
    cls: type[Agent] = registry.resolve("agents", name)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(sequence(seed, "init").generate_state(1, np.uint64)[0]))
        agent = cls.form(spec)(spec, config).to(device)
    agent.name, agent.preset = name, preset
    return agent
