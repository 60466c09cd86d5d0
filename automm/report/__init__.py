"""The run's HTML page, and what a run says on the console."""
