"""What was done: provenance, audit, report."""
