"""HTTP in, one domain call, HTTP out: a class per resource, a method per verb."""
