"""What gateway and hub both know. Pure: no I/O, no clock, integers only."""

# The version of gateway and host tools (semver.org). It is stated here only: pyproject.toml reads it, the console's
# `identity`, `parkgate --version`, the hub's API and its page show it.
MAJOR, MINOR, PATCH = 0, 1, 0
VERSION = "%d.%d.%d" % (MAJOR, MINOR, PATCH)
VERSION_NUMBER = MAJOR * 1000000 + MINOR * 1000 + PATCH  # as a beat carries it (SPEC 7)
