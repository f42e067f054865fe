"""A client and a bundle in, one integrated price out; and what a client is worth by the same economics."""
