"""Benchmarks that need what a test machine lacks run at least in small."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytestmark = pytest.mark.slow


def test_the_benchmark_of_gpus_runs_without_one(root: Path) -> None:
    command = [sys.executable, str(root / "benchmarks" / "gpu.py"), "--tiny"]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    if not torch.cuda.is_available():
        assert "No GPU was there" in run.stdout
    rows = re.findall(r"^\| (\w+),.*\| ([\d,.]+) \| ([\d,.]+) \| ([\d.]+) \|$", run.stdout, re.M)
    assert [name for name, *_ in rows] == ["training", "inference"]
    assert all(float(f.replace(",", "")) > 0 for _, *figures in rows for f in figures)
    assert re.search(r"22,000 x 18,000 cells at this speed: [\d,]+ s", run.stdout)
