"""What the long jobs do: building an export, importing content."""
