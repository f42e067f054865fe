"""What callers send and read, field by field."""
