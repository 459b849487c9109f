"""The embedded engine: ACS/WFC calibration in numpy and numba."""
