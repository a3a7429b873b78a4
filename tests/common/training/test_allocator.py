"""What is freed in the block stays with the process, and goes back to the system after it."""

import platform
import subprocess
import sys

import pytest

PROBE = """
import psutil, torch
from common.training.allocator import freed_memory_kept

def resident() -> float:
    return psutil.Process().memory_info().rss / 2**20

def ask_and_free() -> None:
    torch.ones(20_000_000)  # 76 MiB

ask_and_free()
before = resident()
with freed_memory_kept():
    ask_and_free()
    print(resident() - before)
print(resident() - before)
ask_and_free()
print(resident() - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator")
def test_memory_is_kept_within_the_block_and_no_longer() -> None:
    # In a process of its own: what other tests left in the heap would blur the numbers.
    lines = subprocess.run([sys.executable, "-c", PROBE], capture_output=True, text=True, check=True).stdout.split()
    within, after, later = map(float, lines)
    assert within > 60
    assert after < 20
    assert later < 20
