"""Other people's formats, both ways.

One file a format that writes it, and one that makes our columns of whatever ``offmarl_bench.foreign`` can read. What
does not survive the way is listed, never dropped in silence.
"""
