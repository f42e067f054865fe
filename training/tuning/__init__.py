"""The search for better training parameters."""
