"""What the user asks: the recipe, its format and its errors."""
