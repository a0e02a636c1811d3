"""What stands for the packages of a job in a process that does not see them.

Where each rule has an environment of its own, Snakemake's main process runs in none of them. It
takes the files that an environment is made of as its identity, and tells every job the identity of
its environment, for the job's trace.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from nunatak.provenance import digest_file, digest_json

VARIABLE = "NUNATAK_ENVIRONMENTS"


def identity(file: Path) -> str:
    """Digest of an environment file, and of what lies beside it under its name: its pins."""
    beside = file.parent.glob(f"{file.stem}.*")
    return digest_json({path.name: digest_file(path) for path in beside})


def setting(identities: Mapping[str, str]) -> str:
    """The variable that tells jobs the identities by their stages, for a shell."""
    return f"{VARIABLE}={','.join(f'{stage}:{digest}' for stage, digest in identities.items())}"


def told() -> dict[str, str]:
    """The identities that this process was told, by stage; none, if it sees its own packages."""
    pairs = (pair.split(":") for pair in os.environ.get(VARIABLE, "").split(",") if pair)
    return dict(pairs)
