"""SIT, Shared Individual Trajectories (Tian et al., AAAI 2023, arXiv:2211.15612): one module per stage."""
