"""How an exposure is calibrated: the external calacs.e, or the embedded engine."""
