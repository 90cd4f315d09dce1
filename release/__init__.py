"""What makes and checks a release; every part is a target of the Makefile (docs/releasing.md)."""
