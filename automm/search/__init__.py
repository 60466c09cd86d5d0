"""The loop, the study, pruning, strategies and executors."""
