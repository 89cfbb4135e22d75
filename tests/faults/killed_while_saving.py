"""Run a script, and kill it with signal 9 in the middle of writing a converted network.

python killed_while_saving.py script.py arguments...
"""

from __future__ import annotations

import os
import runpy
import signal
import sys
from pathlib import Path
from typing import Any

from rerank.devices import import_openvino


def _kill_half_way(openvino: Any) -> None:
    save = openvino.save_model

    def save_half(network: Any, file: Path, **options: Any) -> None:
        save(network, file, **options)
        weights = file.with_suffix(".bin")
        os.truncate(weights, weights.stat().st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)

    openvino.save_model = save_half


if __name__ == "__main__":
    _kill_half_way(import_openvino())
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")
