"""The run's HTML page and the live panel."""
