"""The steps of layers, tried on a CPU."""

from __future__ import annotations

import pytest

from benchmarks import gpu_steps


def test_every_step_of_every_size_is_measured(capsys: pytest.CaptureFixture[str]) -> None:
    gpu_steps.main(["--device", "cpu", "--tokens", "8", "--length", "4", "--repeat", "1"])

    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line in gpu_steps.SIZES] == [*gpu_steps.SIZES]
    gated = [size for size in gpu_steps.SIZES.values() if size.gated]
    assert sum(line.strip().startswith("rotary positions") for line in lines) == len(gated)
    # kernels that a CPU lacks
    lacking = [line for line in lines if "not here" in line]
    assert {line.split()[0] for line in lacking} == {"attention"}
