"""Episodes as pictures: play one, look at every moment of it, and write it as an animated GIF.

An environment that is ``envs.scene.Drawable`` is drawn as what it is; any other as a chart of its rewards and actions.
"""

from __future__ import annotations

from offmarl_bench.render.film import Film as Film
from offmarl_bench.render.film import Shot as Shot
from offmarl_bench.render.film import film as film
from offmarl_bench.render.gif import frames as frames
from offmarl_bench.render.gif import write_gif as write_gif
from offmarl_bench.render.players import Cast as Cast
from offmarl_bench.render.players import choose_players as choose_players
