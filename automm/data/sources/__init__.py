"""Built-in data sources, one a file, reached through the registry alone."""
