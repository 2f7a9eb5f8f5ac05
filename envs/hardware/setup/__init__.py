"""Setting up an arm: motor ids, calibration, configuration."""
