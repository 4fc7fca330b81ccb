"""``python -m dbpt``: the command line without its script."""

from dbpt.cli import main

main()
