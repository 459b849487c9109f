"""What will be done: pure data, built from a recipe and an inventory."""
