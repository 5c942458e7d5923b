"""Hypnograms: what stages are, the files that hold them (a form a file), and which recording they are of."""
