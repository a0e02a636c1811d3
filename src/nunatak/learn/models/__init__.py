"""The models, one family a module."""
