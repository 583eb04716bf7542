"""What can be done: commands, one transaction each."""
