"""OpenMP's threads, which torch computes with on a CPU."""

from __future__ import annotations

import os


def shorten_spinning() -> None:
    """Have idle threads spin shorter, unless the environment says how long. To be called before torch is imported.

    torch wakes them for a single product after each of OpenVINO's batches; by default they then spin for milliseconds
    on the cores that the next batch needs.
    """
    if not {"GOMP_SPINCOUNT", "OMP_WAIT_POLICY"} & os.environ.keys():
        os.environ["GOMP_SPINCOUNT"] = "10000"
