"""A build: from a query and a store version to one file in the blob store (contract 4, 5, 9).

`lead.build` and `lead.assist` are the jobs' work; `outcome` is what follows from their end.
"""
