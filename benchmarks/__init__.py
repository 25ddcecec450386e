"""Timings that anyone can repeat: ``make bench`` measures, prints, and rewrites docs/performance.md."""
