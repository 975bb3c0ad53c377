"""The images run as any user: OpenShift chooses one that no file of an image knows."""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_user_without_an_entry_in_passwd_has_a_name() -> None:
    stage = (ROOT / "Dockerfile").read_text().split(" AS base\n")[1].split("\nFROM ")[0]
    (variables,) = re.findall(r"^ENV (.*)$", stage, re.MULTILINE)
    environ = dict(each.split("=") for each in variables.split() if "$" not in each)
    # An image may run as any user: no layer has files that only one of them may read, and none is written to.
    script = "import getpass, os; os.setuid(1000680000); print(getpass.getuser(), os.environ['HOME'])"
    done = subprocess.run(
        [sys.executable, "-c", script], env=environ | {"PYTHONPATH": ""}, capture_output=True, text=True
    )
    if os.geteuid() == 0:
        assert done.stdout.split() == ["llmservice", "/tmp"], done.stderr
