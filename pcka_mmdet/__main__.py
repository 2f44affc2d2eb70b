"""`python -m pcka_mmdet` is `pcka-mmdet`."""

from .cli import main

main()
