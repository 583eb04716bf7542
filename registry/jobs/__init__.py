"""What long jobs do: list a source, fetch and check its documents, swap the new set in, and what follows."""
