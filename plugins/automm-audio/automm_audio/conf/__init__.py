"""Presets, found by automm through the entry point `automm.conf`."""
