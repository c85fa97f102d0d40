"""`python -m dsegym`: the command line, where the command `dsegym` is not on the path."""

from .experiments.cli import main

if __name__ == "__main__":
    main()
