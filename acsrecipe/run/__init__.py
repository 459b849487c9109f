"""Doing it: the only part that writes."""
