"""Setup of an arm: motor ids, calibration, configuration."""
