"""Benchmarks: each prints its figures and writes them to build/bench/NAME.json."""
