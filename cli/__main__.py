"""`python -m cli`: the same as `sheaf`."""

from cli import main

main()
