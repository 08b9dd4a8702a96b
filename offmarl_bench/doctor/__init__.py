"""The doctor: what is wrong, or unwise, in an offline multi-agent dataset of any format.

``facts`` looks at every number once and keeps little; each lint is a function of these facts; ``examine`` runs them.
"""
