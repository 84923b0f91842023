"""Slow to import where a test asks for it: touches the file that ``SLOW_IMPORT`` names, and waits."""

import os
import time
from pathlib import Path

if "SLOW_IMPORT" in os.environ:
    Path(os.environ["SLOW_IMPORT"]).touch()
    time.sleep(1)
