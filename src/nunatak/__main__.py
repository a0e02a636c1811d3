"""``python -m nunatak``."""

import sys

from nunatak.jobs import kept

if __name__ == "__main__" and not kept(sys.argv[1:]):
    from nunatak.cli import main

    main()
