"""Commands that SIT brings."""
