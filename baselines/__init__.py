"""Reference agents: one file per algorithm."""
