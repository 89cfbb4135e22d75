"""Tests of the client, which is one file that nothing of the project stands behind."""

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
if str(ROOT) not in sys.path:  # as for a user: the file lies in the folder one works in
    sys.path.insert(0, str(ROOT))
