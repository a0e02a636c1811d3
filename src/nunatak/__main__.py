"""``python -m nunatak``."""

from nunatak.cli import main

main()
