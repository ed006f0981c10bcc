"""Benchmarks: JSON on stdout, each figure with what it measures, as ratios to this machine."""
