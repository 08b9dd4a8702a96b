"""Datasets on the Hugging Face Hub: where they are, what is there, and how they come here whole.

Writing to the Hub is ``offmarl_bench.publish``. Nothing here imports ``huggingface_hub`` before the Hub is asked.
"""

from __future__ import annotations

from offmarl_bench.hub.bring import fetch as fetch
from offmarl_bench.hub.bring import pull as pull
from offmarl_bench.hub.bring import pull_if_there as pull_if_there
from offmarl_bench.hub.bring import remote_versions as remote_versions
