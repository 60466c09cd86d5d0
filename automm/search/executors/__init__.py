"""Built-in executors, one a file, reached through the registry alone."""
