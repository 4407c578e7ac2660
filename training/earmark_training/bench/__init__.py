"""Benchmarks: each module is a command that writes one JSON file to build/bench."""
