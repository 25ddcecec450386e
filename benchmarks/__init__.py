"""Reproducible benchmarks: ``make bench`` runs them, prints the results, and updates docs/performance.md."""
