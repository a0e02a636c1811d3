"""How a training is spread over processes, and in time: what is learnt does not follow from it."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Literal

from nunatak.errors import ConfigError

Launcher = Literal["local", "torchrun", "srun"]
_RANK = {"torchrun": "RANK", "srun": "SLURM_PROCID"}
_SIZES = {
    "torchrun": ("WORLD_SIZE", "GROUP_WORLD_SIZE"),
    "srun": ("SLURM_NTASKS", "SLURM_NNODES"),
}


@dataclass(frozen=True)
class Spread:
    """Over how many processes, in pieces of which size, with checkpoints how often.

    Parameters
    ----------
    processes
        Processes of the launcher ``local``, one a device; `torchrun` and `srun` tell their own.
    launcher
        What starts the processes: the first of them (``local``), or what started this one.
    micro_batch
        Most samples that a device takes through the network at once; None for all of a step.
    checkpoint_every
        Seconds between checkpoints, besides those at validations.

    Raises
    ------
    ConfigError
        If the environment lacks what the launcher sets.
    """

    processes: int = 1
    launcher: Launcher = "local"
    micro_batch: int | None = None
    checkpoint_every: float = 600.0

    @property
    def rank(self) -> int:
        """Which of the processes this is; 0 leads: it decides, writes and commits."""
        if self.launcher == "local":
            return int(os.environ.get("LOCAL_RANK", "0")) if self.processes > 1 else 0
        return self._told(_RANK[self.launcher])

    @property
    def nodes(self) -> int:
        """Machines, with the same number of processes each."""
        return 1 if self.launcher == "local" else self._told(_SIZES[self.launcher][1])

    @property
    def devices(self) -> int:
        """Processes, and so devices, of each machine."""
        if self.launcher == "local":
            return self.processes
        return self._told(_SIZES[self.launcher][0]) // self.nodes

    def _told(self, variable: str) -> int:
        if variable not in os.environ:
            raise ConfigError(
                f"--launcher {self.launcher}, but {variable} is not set",
                f"a process that {self.launcher} started",
                f"start the command with {self.launcher}, or leave the option out",
            )
        return int(os.environ[variable])
