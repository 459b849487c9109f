"""After calibration: post-steps."""
