"""Declarative, reviewable and recorded reprocessing of HST/ACS exposures."""

__version__ = "0.1.0"
