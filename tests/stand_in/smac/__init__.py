"""A stand-in for the package `smac`, for machines without StarCraft II."""
