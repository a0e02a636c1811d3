"""``python -m nunatak``."""

import sys

from nunatak.jobs import kept

if not kept(sys.argv[1:]):
    from nunatak.cli import main

    main()
