"""Robots whose joints are shared out among agents (MaMuJoCo): the paper's two-legged maps and every other split."""
