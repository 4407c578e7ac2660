"""Devices that behave as the firmware does, in any number."""
