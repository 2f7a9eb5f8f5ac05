"""Servo bus: packets, registers, transactions and plausible readings."""
