"""Contract tests for components, ours and third parties' alike."""
