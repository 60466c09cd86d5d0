"""Built-in strategies, one a file, reached through the registry alone."""
