"""What stands between a connection and the engine: access, limits, problems, logs."""
