"""Datasets to the Hugging Face Hub: checked, described, tagged, and never changed once they are there."""

from __future__ import annotations

from offmarl_bench.publish.send import Pushed as Pushed
from offmarl_bench.publish.send import push as push
