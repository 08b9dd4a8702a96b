"""StarCraft micromanagement without StarCraft: SMAC's exact interface over our own batched combat simulator."""

from offmarl_bench.envs.smac.interface import battle_reward as battle_reward
from offmarl_bench.envs.smac.interface import observe as observe
