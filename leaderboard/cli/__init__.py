"""The two commands that this package brings through the entry points of ``offmarl_bench.commands``."""
