"""What can be done in the registry."""
