"""The columns of a profile, one module a feature group."""
