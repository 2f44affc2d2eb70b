"""The test suite: a package, since MMRazor installs one of the same name, which would be found in its place."""
