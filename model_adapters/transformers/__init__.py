"""Models run in this process, by the package of the same name; see `adapter`."""
