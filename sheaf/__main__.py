"""`python -m sheaf`: the same as `sheaf`."""

from sheaf.cli import main

main()
