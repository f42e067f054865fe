"""Service plans and approval routes of clients, and what explains them."""
