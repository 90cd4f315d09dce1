"""A stand-in for fal and for a backend: for the demo, for tests, and for trying the bridge alone.

The cores are sans-I/O: `exchange.Request` in, `exchange.Answer` out, time from an injected clock.
`server` puts a core on a loopback port, `transport` puts the same core behind an httpx client in
the same process. `faults` wraps any core and makes it misbehave.
"""
