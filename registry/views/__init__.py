"""The registry over HTTP: the original's API (v1, v2), our additions, and the folder for harvesters."""
