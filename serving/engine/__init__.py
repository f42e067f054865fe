"""What decides: candidates, order, gates, prices and reasons of one client or many."""
