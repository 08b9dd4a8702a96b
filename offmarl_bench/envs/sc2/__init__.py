"""The suite ``smac-sc2``: the same maps in the real StarCraft II, through the user's own ``smac`` package."""
