"""The multi-agent particle environments of the paper: cooperative navigation and predator–prey, batched."""
