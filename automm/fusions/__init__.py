"""Built-in fusions, one a file, reached through the registry alone."""
