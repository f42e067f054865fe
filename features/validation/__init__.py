"""What `sheaf check` says of a bank's tables, before any work starts."""
