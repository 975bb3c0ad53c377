"""Nothing of a process tree is left, whatever state its parts are in."""

from __future__ import annotations

import subprocess
import sys

HALF_DEAD = """
import ctypes, threading, time
threading.Thread(target=time.sleep, args=(600,)).start()
ctypes.CDLL(None).syscall(60, 0)  # ends the first thread alone: for /proc the process is a zombie, and it lives
"""
PARENT = """
import pathlib, subprocess, sys, time
from llmservice_runtime.launcher import processes
processes.become_subreaper()
child = subprocess.Popen([sys.executable, "-c", sys.argv[1]])
stat = pathlib.Path(f"/proc/{child.pid}/stat")
while stat.read_text().rpartition(")")[2].split()[0] != "Z":
    time.sleep(0.01)
processes.end_all_children(0.2)
print(stat.exists())
"""


def test_a_process_of_which_only_the_first_thread_has_ended_is_ended_too() -> None:
    run = subprocess.run([sys.executable, "-c", PARENT, HALF_DEAD], capture_output=True, text=True, timeout=30)
    assert run.stdout == "False\n", run.stderr
