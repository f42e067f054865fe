"""Lists of clients to act on."""
