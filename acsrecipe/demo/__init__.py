"""A synthetic ACS/WFC association with references, rules and truth."""
