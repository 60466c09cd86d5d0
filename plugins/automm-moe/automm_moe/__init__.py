"""A mixture-of-experts fusion for automm. Importing this imports no torch: automm reads the presets beside it."""
