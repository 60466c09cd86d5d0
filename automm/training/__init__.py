"""Fitting and evaluating one candidate."""
