"""Account managers: whom they call, and what they and their branches achieve."""
