"""Importing a folder of titles: plan it, look at each title's files, store each title whole or not at all."""
