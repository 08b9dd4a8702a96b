"""Shared Individual Trajectories (SIT): one module per stage of the paper; ``sit.agent`` puts them together."""
