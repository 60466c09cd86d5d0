"""Built-in encoders, one a file, reached through the registry alone."""
