"""Model files nobody has vouched for: what they are, what they ask for, and how they become Keras 3 models."""
