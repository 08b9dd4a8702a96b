"""Freed memory is found again without asking the system."""

from __future__ import annotations

import resource

import numpy as np
import pytest

from offmarl_bench.memory import keep_freed_memory

SIZE = 24 * 2**20
ROUNDS = 8


def page_faults_of_a_round() -> float:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(ROUNDS):
        for array in [np.empty(SIZE, np.uint8) for _ in range(4)]:
            array[::4096] = 1
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / ROUNDS


def test_pages_are_asked_for_once() -> None:
    if not keep_freed_memory():
        pytest.fail("the C library of this system cannot be told; training is slower on it, but works")
    page_faults_of_a_round()  # the first time they are
    pages = 4 * SIZE / resource.getpagesize()
    assert page_faults_of_a_round() < pages / 10
