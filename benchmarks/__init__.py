"""Figures against peers and limits, each a ratio measured in one run; README.md has the commands and the targets."""
