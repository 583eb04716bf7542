"""What can be done: commands, keyword-only, one transaction each."""
