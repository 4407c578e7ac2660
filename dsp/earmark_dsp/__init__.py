"""Earmark's front end: one specification, one fixed-point C implementation, one float64 oracle."""
