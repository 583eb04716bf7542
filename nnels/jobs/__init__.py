"""What the background does, step by step: catalogue upkeep, import, purges, blob sweeps, file checks."""
