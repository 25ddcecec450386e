"""Build networks with one logit per face, and read pretrained weights from installed packages."""
