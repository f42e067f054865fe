"""The price response: acceptance as a function of price, learned from the bank's own offers."""
