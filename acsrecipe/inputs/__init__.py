"""What exists: exposures, associations, references. Everything here only reads."""
