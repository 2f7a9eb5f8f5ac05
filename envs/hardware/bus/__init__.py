"""The servo bus: packets, registers, and readings that can be true."""
