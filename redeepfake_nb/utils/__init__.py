"""What knows nothing of faces: files written whole, jobs in the background, a quiet import of Keras, numbers."""
