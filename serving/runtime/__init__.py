"""What the service runs on: preparation, workers, metrics."""
