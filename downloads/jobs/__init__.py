"""What long jobs do: bringing archives in, building downloads, expiry (contract 4, 6)."""
