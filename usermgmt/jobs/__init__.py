"""What long or repeated work does, and the steps services and jobs share: pairs, mails, grants."""
