"""High-resolution maps of ice and ocean from coarse grids by deep learning."""

__version__ = "0.1.0"
