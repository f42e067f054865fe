"""Plans, routes and scorecards as a person reads them."""
