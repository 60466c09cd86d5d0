"""Built-in tasks, one a file, reached through the registry alone."""
