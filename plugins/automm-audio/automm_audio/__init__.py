"""Encoders of audio for automm. Importing this imports no torch: automm reads the presets beside it."""
