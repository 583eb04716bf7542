"""One program per path of the performance table: `./run bench NAME`."""
