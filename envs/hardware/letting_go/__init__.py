"""Letting go of an arm: every way out of a program that holds one."""
