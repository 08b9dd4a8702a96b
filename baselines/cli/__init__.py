"""Commands that the baselines bring to the command line."""
