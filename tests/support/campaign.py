"""Whether this is a whole campaign (`make campaigns`) or the part of it that every run has."""

import os

FULL = os.environ.get("CAMPAIGN") == "full"
