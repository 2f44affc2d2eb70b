"""`python -m pcka_mmdet COMMAND`: the program `pcka-mmdet`."""

from pcka_mmdet.cli import main

if __name__ == "__main__":
    main()
