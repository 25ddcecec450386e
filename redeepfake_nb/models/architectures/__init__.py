"""Networks to build: backbones, a head with one logit, and readers of the start weights that packages carry."""
