"""Submissions of results and what shows them."""
