"""Metrics by name. The standard ones are reached through the registry, as those of plugins are."""
