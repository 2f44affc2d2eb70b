"""Readers of dense heads: one file for each family, found without a list. See `HeadReader` for how to add one."""

from importlib import import_module
from pkgutil import iter_modules

from .reader import HeadOutputs, HeadReader, difference_of_heads, reader_of, reads

for _module in iter_modules(__path__, f"{__name__}."):
    import_module(_module.name)

__all__ = ["HeadOutputs", "HeadReader", "difference_of_heads", "reader_of", "reads"]
